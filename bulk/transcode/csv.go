package transcode

import "bytes"

func (t *Transcoder) appendCSV(dst, p []byte) (out []byte, rows int, err error) {
	quote, cr, end := mark{t.format.Quote, -1}, mark{'\r', -1}, endUnknown
	for at := 0; at < len(p); rows++ {
		to := bytes.IndexByte(p[at:], '\n')
		if to += at; to < at {
			to = len(p)
		}
		start, bad := len(dst), -1
		if quote.before(p, at, to) {
			dst, at, bad = t.quotedLine(dst, p, at, &end)
		} else {
			end = end.orOf(p, to)
			line, ok := end.line(p, at, to, &cr)
			if at = to + 1; !ok || string(line) == `\.` {
				bad = 0
			} else {
				dst, bad = t.plainLine(dst, line)
			}
		}
		if bad >= 0 {
			return dst[:start], rows, &Fallback{rows, bad}
		}
	}
	return dst, rows, nil
}

// quotedLine appends the row of a line with quotes, which begins at a place of p,
// and returns where the next one begins.
func (t *Transcoder) quotedLine(dst, p []byte, at int, end *lineEnd) (out []byte, next, bad int) {
	dst = t.beginRow(dst)
	last := len(t.columns) - 1
	for i := range t.columns {
		f := t.csvField(p, at)
		if f.bad {
			return dst, at, i
		}
		var ok bool
		if dst, ok = t.field(dst, i, f.value, f.quoted); !ok {
			return dst, at, i
		}
		if at = f.next; at < len(p) && p[at] == t.format.Delimiter {
			at++
			if i == last {
				return dst, at, i // too many
			}
			continue
		}
		if i < last {
			return dst, at, i // too few
		}
	}
	if at == len(p) {
		return dst, at, -1
	}
	here := endLF
	if p[at] == '\r' {
		here = endCRLF
		at++
	}
	if *end == endUnknown {
		*end = here
	}
	if at == len(p) || p[at] != '\n' || *end != here {
		return dst, at, last
	}
	return dst, at + 1, -1
}

// csvField is a field as it stands in the data.
type csvField struct {
	value  []byte
	quoted bool
	next   int // where the delimiter or the line end stands, or the data's length
	bad    bool
}

// csvField reads the field that begins at a place of p. Its value is good until
// the next one is read.
func (t *Transcoder) csvField(p []byte, at int) csvField {
	quote, escape := t.format.Quote, t.format.Escape
	if at < len(p) && p[at] == quote {
		// All within one pair of quotes: nothing is copied.
		if n := bytes.IndexByte(p[at+1:], quote); n >= 0 {
			value, next := p[at+1:at+1+n], at+n+2
			if t.ends(p, next) && (escape == quote || bytes.IndexByte(value, escape) < 0) {
				return csvField{value: value, quoted: true, next: next}
			}
		}
	}
	start, quoted, inside := at, false, false
	t.scratch = t.scratch[:0]
	for ; at < len(p); at++ {
		c := p[at]
		switch {
		case inside && c == escape && at+1 < len(p) && (p[at+1] == escape || p[at+1] == quote):
			at++
			c = p[at]
		case c == quote:
			quoted, inside = true, !inside
			continue
		case !inside && t.ends(p, at):
			return csvField{t.scratch, quoted, at, !t.valid(p[start:at])}
		case !inside && c == '\r':
			return csvField{bad: true}
		}
		t.scratch = append(t.scratch, c)
	}
	return csvField{t.scratch, quoted, at, inside || !t.valid(p[start:at])}
}

// ends says whether a field may end before a place of p.
func (t *Transcoder) ends(p []byte, at int) bool {
	if at >= len(p) {
		return true
	}
	c := p[at]
	return c == t.format.Delimiter || c == '\n' || c == '\r' && at+1 < len(p) && p[at+1] == '\n'
}
