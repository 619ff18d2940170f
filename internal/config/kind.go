package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the type of a setting.
type Kind string

// The kinds, with the Go type of their field.
const (
	String   Kind = "string"   // string
	Choice   Kind = "choice"   // string
	Bool     Kind = "on/off"   // bool
	Int      Kind = "number"   // int
	Size     Kind = "size"     // int64, bytes
	Duration Kind = "duration" // time.Duration
)

// set parses text and stores it in c's field.
func (k Key) set(c *Config, text string) error {
	text = strings.TrimSpace(text)
	switch field := k.field(c).(type) {
	case *string:
		if k.Kind == Choice && !slices.Contains(k.Choices, text) {
			return fmt.Errorf("%q is not one of %s", text, strings.Join(k.Choices, ", "))
		}
		*field = text
	case *bool:
		v, err := parseBool(text)
		if err != nil {
			return err
		}
		*field = v
	case *int:
		v, err := strconv.ParseInt(text, 10, strconv.IntSize)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*field = int(v)
		return k.bounded(v, text)
	case *int64:
		v, err := parseSize(text)
		if err != nil {
			return err
		}
		*field = v
		return k.bounded(v, text)
	case *time.Duration:
		v, err := parseDuration(text)
		if err != nil {
			return err
		}
		*field = v
		return k.bounded(int64(v), text)
	}
	return nil
}

// get returns the field in the spelling of the file.
func (k Key) get(c *Config) string {
	switch field := k.field(c).(type) {
	case *string:
		return *field
	case *bool:
		if *field {
			return "on"
		}
		return "off"
	case *int:
		return strconv.Itoa(*field)
	case *int64:
		return formatSize(*field)
	case *time.Duration:
		return formatDuration(*field)
	}
	return ""
}

func (k Key) bounded(v int64, text string) error {
	if v < k.Min || v > k.Max {
		return fmt.Errorf("%s is out of bounds, must be %s", text, k.Bounds())
	}
	return nil
}

// Bounds says which values are allowed, in words: "64KiB to 5GiB", "at least
// 2", "on or off". It is empty for a String.
func (k Key) Bounds() string {
	var format func(int64) string
	switch k.Kind {
	case Choice:
		return strings.Join(k.Choices, ", ")
	case Bool:
		return "on or off"
	case Int:
		format = func(v int64) string { return strconv.FormatInt(v, 10) }
	case Size:
		format = formatSize
	case Duration:
		format = func(v int64) string { return formatDuration(time.Duration(v)) }
	default:
		return ""
	}
	if k.Max == noMax {
		return "at least " + format(k.Min)
	}
	return format(k.Min) + " to " + format(k.Max)
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "on", "true", "yes", "1":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", text)
}

// sizeUnits in descending order of the binary ones, which formatSize uses.
func sizeUnits() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
	}
}

// parseSize reads 1048576, 64MiB (powers of 1024) or 64MB (powers of 1000).
func parseSize(text string) (int64, error) {
	digits, factor := text, int64(1)
	for _, u := range sizeUnits() {
		if head, ok := cutSuffixFold(text, u.name); ok {
			digits, factor = strings.TrimSpace(head), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && (n > math.MaxInt64/factor || n < math.MinInt64/factor) {
		return 0, fmt.Errorf("%s is too large", text)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 1048576, 64MiB or 64MB", text)
	}
	return n * factor, nil
}

func cutSuffixFold(s, suffix string) (string, bool) {
	n := len(s) - len(suffix)
	if n < 0 || !strings.EqualFold(s[n:], suffix) {
		return s, false
	}
	return s[:n], true
}

func formatSize(v int64) string {
	for _, u := range sizeUnits() {
		if strings.HasSuffix(u.name, "iB") && v >= u.bytes && v%u.bytes == 0 {
			return strconv.FormatInt(v/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(v, 10)
}

// parseDuration reads Go's durations, with days in front: 7d, 1d12h, 90s.
func parseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration such as 500ms, 30s, 15m or 7d", text)
	m := regexp.MustCompile(`^(?:(\d+)d)?(.*)$`).FindStringSubmatch(text)
	if m == nil || m[1] == "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, bad
		}
		return d, nil
	}
	days, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || days > noMax/day {
		return 0, fmt.Errorf("%s is too large", text)
	}
	var rest time.Duration
	if m[2] != "" {
		if rest, err = time.ParseDuration(m[2]); err != nil || rest < 0 {
			return 0, bad
		}
	}
	sum := time.Duration(days*day) + rest
	if sum < 0 {
		return 0, fmt.Errorf("%s is too large", text)
	}
	return sum, nil
}

func formatDuration(d time.Duration) string {
	if d > 0 && d%time.Duration(day) == 0 {
		return strconv.FormatInt(int64(d)/day, 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
