package rewrite

import "strings"

// unsafeTextDelimiters are what text format cannot take as its delimiter: they
// have a meaning behind a backslash.
const unsafeTextDelimiters = `\.abcdefghijklmnopqrstuvwxyz0123456789`

// finish fills in the defaults and checks what the server checks between
// options, in its order of thought: first what a format does not have at all,
// then each value, then pairs of values.
func (c *copyOptions) finish() Reason {
	if c.Format == "" {
		c.Format = FormatText
	}
	if !c.fitsFormat() || !c.fitsErrors() {
		return ReasonBadOption
	}
	if c.Format == FormatBinary {
		return ReasonNone
	}
	if !c.fillBytes() || !c.fitsMarkers() {
		return ReasonBadOption
	}
	return ReasonNone
}

// fitsFormat says whether the format has every option that was given.
func (c *copyOptions) fitsFormat() bool {
	forced := c.ForceNull != nil || c.ForceNotNull != nil || c.ForceNullAll || c.ForceNotNullAll
	csvOnly := c.quote != nil || c.escape != nil || forced
	if c.Format != FormatCSV && csvOnly {
		return false
	}
	lines := c.delimiter != nil || c.null != nil || c.DefaultSet || c.Header
	return c.Format != FormatBinary || !lines
}

// fitsErrors checks ON_ERROR and REJECT_LIMIT, which belong together.
func (c *copyOptions) fitsErrors() bool {
	if c.Format == FormatBinary && c.OnError == "set_null" {
		return false
	}
	return c.RejectLimit == 0 || c.OnError == "ignore"
}

// fillBytes sets Delimiter, Null, Quote and Escape.
func (c *copyOptions) fillBytes() bool {
	c.Delimiter, c.Null = '\t', `\N`
	if c.Format == FormatCSV {
		c.Delimiter, c.Null, c.Quote = ',', "", '"'
	}
	if c.null != nil {
		c.Null = *c.null
	}
	if !oneByte(&c.Delimiter, c.delimiter) || !oneByte(&c.Quote, c.quote) {
		return false
	}
	c.Escape = c.Quote
	return oneByte(&c.Escape, c.escape)
}

// oneByte sets field to the only byte of value, if there is a value. Line ends
// are not taken: the server refuses them as delimiters, and as quotes they make
// rows whose ends are anybody's guess.
func oneByte(field *byte, value *string) bool {
	if value == nil {
		return true
	}
	if len(*value) != 1 || strings.ContainsAny(*value, "\r\n") {
		return false
	}
	*field = (*value)[0]
	return true
}

// fitsMarkers checks delimiter, quote, NULL and DEFAULT against each other.
func (c *copyOptions) fitsMarkers() bool {
	csv := c.Format == FormatCSV
	if !csv && strings.IndexByte(unsafeTextDelimiters, c.Delimiter) >= 0 {
		return false
	}
	if csv && c.Delimiter == c.Quote {
		return false
	}
	if !c.fitsMarker(c.Null) {
		return false
	}
	return !c.DefaultSet || c.fitsMarker(c.Default) && c.Default != c.Null
}

func (c *copyOptions) fitsMarker(marker string) bool {
	if strings.ContainsAny(marker, "\r\n") || strings.IndexByte(marker, c.Delimiter) >= 0 {
		return false
	}
	return c.Format != FormatCSV || strings.IndexByte(marker, c.Quote) < 0
}
