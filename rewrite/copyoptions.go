package rewrite

import (
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// optionReader reads one option into its fields of the statement. It returns
// ReasonNone, or why the statement must go to the server as it is.
type optionReader func(c *copyOptions, o pgquery.Option) Reason

// copyOptions is a statement under construction. The pointers tell an absent
// option from one that is written as its default.
type copyOptions struct {
	*CopyStatement
	delimiter, null, quote, escape *string
}

// optionReaderOf returns the reader of a COPY option, or nil. Names are
// compared exactly: the scanner has folded what was not quoted.
func optionReaderOf(name string) optionReader {
	switch name {
	case "format":
		return readFormat
	case "delimiter":
		return readString(func(c *copyOptions) **string { return &c.delimiter })
	case "null":
		return readString(func(c *copyOptions) **string { return &c.null })
	case "quote":
		return readString(func(c *copyOptions) **string { return &c.quote })
	case "escape":
		return readString(func(c *copyOptions) **string { return &c.escape })
	case "header":
		return readHeader
	case "encoding":
		return readEncoding
	case "force_null":
		return readColumns(func(c *copyOptions) (*[]string, *bool) { return &c.ForceNull, &c.ForceNullAll })
	case "force_not_null":
		return readColumns(func(c *copyOptions) (*[]string, *bool) { return &c.ForceNotNull, &c.ForceNotNullAll })
	case "freeze":
		return readFreeze
	case "default":
		return readDefault
	case "on_error":
		return readWord(func(c *copyOptions) *string { return &c.OnError }, "stop", "ignore", "set_null")
	case "log_verbosity":
		return readWord(func(c *copyOptions) *string { return &c.LogVerbosity }, "silent", "default", "verbose")
	case "reject_limit":
		return readRejectLimit
	case "oids":
		return func(*copyOptions, pgquery.Option) Reason { return ReasonOIDs }
	case "force_quote":
		// For COPY TO only.
		return func(*copyOptions, pgquery.Option) Reason { return ReasonBadOption }
	}
	return nil
}

// ownOption returns the name of an option of pgbulkproxy's own that is not
// implemented, or "".
func ownOption(o pgquery.Option) string {
	switch o.Name {
	case "compression":
		return strings.ToUpper(o.Name)
	case "format":
		switch f := strings.ToLower(o.Text); f {
		case "parquet", "jsonl", "arrow":
			return "FORMAT " + f
		}
	}
	return ""
}

// readOptions fills the fields of c from the options as written.
func (c *CopyStatement) readOptions(options []pgquery.Option) (Reason, *Refusal) {
	for _, o := range options {
		if name := ownOption(o); name != "" {
			return ReasonUnsupportedOption, &Refusal{Feature: "COPY option " + name}
		}
	}
	b := &copyOptions{CopyStatement: c}
	seen := make(map[string]bool, len(options))
	for _, o := range options {
		read, own := optionReaderOf(o.Name), ownReaderOf(o.Name)
		if read == nil && own == nil {
			return ReasonUnknownOption, nil
		}
		if seen[o.Name] {
			return ReasonDuplicateOption, nil
		}
		seen[o.Name] = true
		if own != nil {
			c.readOwn(own, o)
			continue
		}
		if reason := read(b, o); reason != ReasonNone {
			return reason, nil
		}
	}
	c.finishOwn()
	return b.finish(), nil
}

// text returns a scalar value as the server's defGetString would. Lists and
// stars, which the server takes for strings too, are not worth following.
func text(o pgquery.Option) (string, bool) {
	switch o.Kind {
	case pgquery.ValueString, pgquery.ValueNumber, pgquery.ValueBool:
		return o.Text, true
	}
	return "", false
}

// boolean reads a value as the server's defGetBoolean does.
func boolean(o pgquery.Option) (value, ok bool) {
	if o.Kind == pgquery.ValueNone {
		return true, true
	}
	s, ok := text(o)
	if !ok {
		return false, false
	}
	switch strings.ToLower(s) {
	case "true", "on":
		return true, true
	case "false", "off":
		return false, true
	case "1", "0":
		// As a number only: '1' in quotes is not a boolean to the server.
		return s == "1", o.Kind == pgquery.ValueNumber && o.Integer
	}
	return false, false
}

func readFormat(c *copyOptions, o pgquery.Option) Reason {
	s, _ := text(o)
	switch f := Format(s); f {
	case FormatText, FormatCSV, FormatBinary:
		c.Format = f
		return ReasonNone
	}
	return ReasonBadOption
}

func readString(field func(*copyOptions) **string) optionReader {
	return func(c *copyOptions, o pgquery.Option) Reason {
		s, ok := text(o)
		if !ok {
			return ReasonBadOption
		}
		*field(c) = &s
		return ReasonNone
	}
}

func readHeader(c *copyOptions, o pgquery.Option) Reason {
	if on, ok := boolean(o); ok {
		if on {
			c.Header, c.HeaderLines = true, 1
		}
		return ReasonNone
	}
	if o.Kind == pgquery.ValueString && strings.EqualFold(o.Text, "match") {
		c.Header, c.HeaderMatch, c.HeaderLines = true, true, 1
		return ReasonNone
	}
	if n, err := strconv.Atoi(o.Text); err == nil && n > 1 && o.Kind == pgquery.ValueNumber && o.Integer {
		c.Header, c.HeaderLines = true, n
		return ReasonNone
	}
	return ReasonBadOption
}

func readEncoding(c *copyOptions, o pgquery.Option) Reason {
	s, ok := text(o)
	// The server's look-up takes a name of up to 63 bytes.
	if !ok || s == "" || len(s) > 63 || !isASCII(s) {
		return ReasonBadOption
	}
	c.Encoding = s
	return ReasonNone
}

func readColumns(field func(*copyOptions) (*[]string, *bool)) optionReader {
	return func(c *copyOptions, o pgquery.Option) Reason {
		list, all := field(c)
		switch {
		case o.Kind == pgquery.ValueStar:
			*all = true
		case o.Kind == pgquery.ValueList && len(o.List) > 0 && !hasDuplicate(o.List):
			*list = o.List
		default:
			return ReasonBadOption
		}
		return ReasonNone
	}
}

func readFreeze(c *copyOptions, o pgquery.Option) Reason {
	on, ok := boolean(o)
	if !ok {
		return ReasonBadOption
	}
	c.Freeze = on
	return ReasonNone
}

func readDefault(c *copyOptions, o pgquery.Option) Reason {
	s, ok := text(o)
	if !ok {
		return ReasonBadOption
	}
	c.Default, c.DefaultSet = s, true
	return ReasonNone
}

func readWord(field func(*copyOptions) *string, words ...string) optionReader {
	return func(c *copyOptions, o pgquery.Option) Reason {
		s, _ := text(o)
		for _, w := range words {
			if strings.EqualFold(s, w) {
				*field(c) = w
				return ReasonNone
			}
		}
		return ReasonBadOption
	}
}

func readRejectLimit(c *copyOptions, o pgquery.Option) Reason {
	s, ok := text(o)
	n, err := strconv.ParseInt(s, 10, 64)
	if !ok || err != nil || n <= 0 || strings.HasPrefix(s, "+") {
		return ReasonBadOption
	}
	c.RejectLimit = n
	return ReasonNone
}

func hasDuplicate(names []string) bool {
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		if seen[n] {
			return true
		}
		seen[n] = true
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
