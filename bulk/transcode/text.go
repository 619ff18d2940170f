package transcode

import "bytes"

// mark is the next place of a byte that is rare, so that each byte of a chunk is
// searched once.
type mark struct {
	c  byte
	at int // no more where it is the chunk's length
}

// before says whether the byte stands in p between from and to.
func (m *mark) before(p []byte, from, to int) bool {
	if m.at < from {
		if m.at = from + bytes.IndexByte(p[from:], m.c); m.at < from {
			m.at = len(p)
		}
	}
	return m.at < to
}

// lineEnd is how the lines of a chunk end.
type lineEnd uint8

const (
	endUnknown lineEnd = iota
	endLF
	endCRLF
)

// orOf looks at the line end at p[to:], if that is the first; the others have to
// be the same.
func (e lineEnd) orOf(p []byte, to int) lineEnd {
	switch {
	case e != endUnknown || to == len(p):
		return e
	case to > 0 && p[to-1] == '\r':
		return endCRLF
	}
	return endLF
}

// line cuts the line end off p[from:to], to being where a \n stands or the end.
// It reports false where there is another \r, which is no data.
func (e lineEnd) line(p []byte, from, to int, cr *mark) (line []byte, ok bool) {
	if !cr.before(p, from, to) {
		return p[from:to], e != endCRLF || to == len(p)
	}
	return p[from : to-1], e == endCRLF && cr.at == to-1 && to < len(p)
}

func (t *Transcoder) appendText(dst, p []byte) (out []byte, rows int, err error) {
	slash, cr, end := mark{'\\', -1}, mark{'\r', -1}, endUnknown
	for at := 0; at < len(p); rows++ {
		to := bytes.IndexByte(p[at:], '\n')
		if to += at; to < at {
			to = len(p)
		}
		end = end.orOf(p, to)
		start, bad := len(dst), -1
		line, ok := end.line(p, at, to, &cr)
		switch {
		case !ok:
			bad = 0
		case slash.before(p, at, to):
			dst, bad = t.escapedLine(dst, line)
		default:
			dst, bad = t.plainLine(dst, line)
		}
		if bad >= 0 {
			return dst[:start], rows, &Fallback{rows, bad}
		}
		at = to + 1
	}
	return dst, rows, nil
}

// plainLine appends the row of a line without escapes or quotes. bad is the
// column that doesn't go, or -1.
func (t *Transcoder) plainLine(dst, line []byte) (out []byte, bad int) {
	dst = t.beginRow(dst)
	last := len(t.columns) - 1
	for i := range t.columns {
		value := line
		k := bytes.IndexByte(line, t.format.Delimiter)
		if k >= 0 {
			value, line = line[:k], line[k+1:]
		}
		if (k < 0) != (i == last) {
			return dst, i // too few or too many
		}
		var ok bool
		if dst, ok = t.field(dst, i, value, false); !ok {
			return dst, i
		}
	}
	return dst, -1
}

// field appends the value of a column; quoted values are not NULL but by force.
func (t *Transcoder) field(dst []byte, i int, value []byte, quoted bool) ([]byte, bool) {
	c, null := &t.columns[i], t.format.Null
	if len(value) == len(null) && string(value) == null {
		if quoted && c.forceNull || !quoted && !c.forceNotNull {
			return appendNull(dst), true
		}
	}
	return c.append(dst, value)
}

// escapedLine is plainLine for a line with backslashes. An end-of-copy marker and
// a line end that is data are left to the server.
func (t *Transcoder) escapedLine(dst, line []byte) (out []byte, bad int) {
	dst = t.beginRow(dst)
	last := len(t.columns) - 1
	for i := range t.columns {
		end, escaped := 0, false
		for ; end < len(line) && line[end] != t.format.Delimiter; end++ {
			if line[end] == '\\' {
				escaped = true
				if end++; end == len(line) || line[end] == '.' {
					return dst, i
				}
			}
		}
		value := line[:end]
		if (end == len(line)) != (i == last) {
			return dst, i
		}
		if i < last {
			line = line[end+1:]
		}
		var ok bool
		switch {
		case string(value) == t.format.Null:
			dst, ok = appendNull(dst), true
		case escaped:
			if !t.valid(value) {
				return dst, i
			}
			t.scratch = unescape(t.scratch[:0], value)
			dst, ok = t.columns[i].append(dst, t.scratch)
		default:
			dst, ok = t.columns[i].append(dst, value)
		}
		if !ok {
			return dst, i
		}
	}
	return dst, -1
}

// unescape appends what a field of text stands for.
func unescape(dst, p []byte) []byte {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '\\' {
			i++
			c = p[i]
			switch {
			case c-'0' < 8:
				c -= '0'
				for most := i + 2; i < most && i+1 < len(p) && p[i+1]-'0' < 8; i++ {
					c = c<<3 | (p[i+1] - '0')
				}
			case c == 'x' && i+1 < len(p) && hexDigits[p[i+1]] < 16:
				i++
				c = hexDigits[p[i]]
				if i+1 < len(p) && hexDigits[p[i+1]] < 16 {
					i++
					c = c<<4 | hexDigits[p[i]]
				}
			default:
				c = escapes[c]
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// escapes are what a byte stands for behind a backslash.
var escapes = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
	}
	t['b'], t['f'], t['n'], t['r'], t['t'], t['v'] = '\b', '\f', '\n', '\r', '\t', '\v'
	return t
}()
