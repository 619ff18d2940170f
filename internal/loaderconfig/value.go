package loaderconfig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func whole(text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("must be a whole number from %d to %d", low, high)
	}
	return n, nil
}

// mib is what the original loader counted parts in; its users wrote bytes, too.
const mib = 1 << 20

// size reads bytes. What is below 5 MiB, the least that S3 takes, but a number
// of MiB that S3 takes, is MiB.
func size(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || n < 5:
	case n <= 5120:
		return n * mib, nil
	case n >= 5*mib && n <= 5120*mib:
		return n, nil
	}
	return 0, errors.New("must be 5 to 5120 (MiB), or that in bytes")
}

// duration reads a number of seconds, Go's form (1m30s) or an interval as
// PostgreSQL prints it (00:01:30).
func duration(text string) (time.Duration, error) {
	const longest = 365 * 24 * time.Hour
	d, ok := seconds(text)
	if !ok {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			d, ok = clock(text)
			if !ok {
				return 0, errors.New("must be seconds, a duration such as 90s, or an interval below a day")
			}
		}
	}
	if d <= 0 || d > longest {
		return 0, errors.New("must be more than 0 and at most a year")
	}
	return d, nil
}

func seconds(text string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != f || f > 1e9 || f < 0 {
		return 0, false
	}
	return time.Duration(f * float64(time.Second)), true
}

// clock reads hours, minutes and seconds.
func clock(text string) (time.Duration, bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return 0, false
	}
	d, err := time.ParseDuration(parts[0] + "h" + parts[1] + "m" + parts[2] + "s")
	return d, err == nil
}
