package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// rowEnd is one row boundary as the reference sees it.
type rowEnd struct {
	off int // just behind the row
	at  Position
	eof bool // no line end: only End may count it
}

// verdict is what the reference says about whole data.
type verdict struct {
	rows      []rowEnd
	irregular bool
	done      bool
	doneAt    int
	loneCR    int // offset behind a first line end \r whose next byte decides
	skip      int // binary header
	final     Position
}

// reference reads text and csv with the whole data at hand, looking ahead where
// it likes: slow, and nothing like the scanners.
type reference struct {
	Options
	data []byte
	eol  string
	line int64
}

type lineResult int

const (
	lineEnded lineResult = iota
	lineAtEOF
	lineMarker
	lineBad
)

func (r *reference) at(i int) int {
	if i >= len(r.data) {
		return 0
	}
	return int(r.data[i])
}

// read reads one line from i and returns the offset behind it (of the marker's
// first byte for lineMarker).
func (r *reference) read(i int) (int, lineResult) {
	csv := r.Format == "csv"
	inQuote, skip := false, false
	first := i
	for ; i < len(r.data); i++ {
		c := r.data[i]
		if csv {
			if c == '\\' && i == first && r.CSVMarker && r.at(i+1) == '.' {
				switch res := r.csvMarker(i + 2); {
				case r.Quote == '\\':
					return i, lineBad
				case res != lineEnded:
					return i, res
				}
			}
			switch {
			case skip:
				skip = false
			case inQuote && c == r.Escape && r.Escape != r.Quote:
				skip = true
			case c == r.Quote:
				inQuote = !inQuote
			}
			if inQuote {
				if c == '\n' && r.eol == "\n" || c == '\r' && r.eol != "\n" {
					r.line++
				}
				continue
			}
		} else if c == '\\' {
			if r.at(i+1) == '.' {
				if i != first || !r.textMarker(i+2) {
					return i, lineBad
				}
				return i, lineMarker
			}
			i++
			continue
		}
		if c != '\n' && c != '\r' {
			continue
		}
		end := string(c)
		if c == '\r' && r.at(i+1) == '\n' && r.eol != "\r" {
			end = "\r\n"
		}
		if r.eol == "" {
			r.eol = end
		}
		if end != r.eol {
			return i, lineBad
		}
		return i + len(end), lineEnded
	}
	if inQuote {
		return i, lineBad
	}
	return len(r.data), lineAtEOF
}

func (r *reference) textMarker(i int) bool {
	rest := string(r.data[min(i, len(r.data)):])
	if r.eol != "" {
		return len(rest) >= len(r.eol) && rest[:len(r.eol)] == r.eol
	}
	return rest != "" && (rest[0] == '\n' || rest[0] == '\r')
}

// csvMarker says what follows `\.`: a marker, an error, or data (lineEnded).
func (r *reference) csvMarker(i int) lineResult {
	c := r.at(i)
	switch {
	case r.textMarker(i):
		return lineMarker
	case (c == '\n' || c == '\r') && r.eol != "\r\n":
		return lineBad
	}
	return lineEnded
}

func (o Options) withDefaults() Options {
	if o.Quote == 0 {
		o.Quote = '"'
	}
	if o.Escape == 0 {
		o.Escape = o.Quote
	}
	return o
}

func refLines(o Options, data []byte) verdict {
	r := &reference{Options: o.withDefaults(), data: data}
	v := verdict{loneCR: -1}
	header := o.HeaderLines
	rows := int64(0)
	for i := 0; i < len(data); {
		wasUnknown := r.eol == ""
		r.line++
		next, res := r.read(i)
		switch {
		case res == lineBad:
			v.irregular = true
			return v
		case res == lineMarker:
			v.done, v.doneAt = true, i
			v.final.Rows = rows
			v.final.Lines = r.line - 1
			return v
		}
		if wasUnknown && r.eol == "\r" {
			v.loneCR = next
		}
		i = next
		if header > 0 {
			header--
		} else {
			rows++
			v.rows = append(v.rows, rowEnd{next, Position{rows, r.line}, res == lineAtEOF})
		}
		v.final = Position{rows, r.line}
	}
	return v
}

func refBinary(o Options, data []byte) verdict {
	v := verdict{loneCR: -1}
	bad := verdict{irregular: true, loneCR: -1}
	if len(data) < 19 || string(data[:11]) != "PGCOPY\n\xff\r\n\x00" || binary.BigEndian.Uint32(data[11:]) != 0 {
		return bad
	}
	ext := int64(int32(binary.BigEndian.Uint32(data[15:])))
	if ext < 0 || ext > 1<<20 || 19+ext > int64(len(data)) {
		return bad
	}
	i := 19 + ext
	v.skip = int(i)
	bad.skip = v.skip
	left := func() int64 { return int64(len(data)) - i }
	for left() > 0 {
		if left() < 2 {
			bad.rows = v.rows
			return bad
		}
		n := int64(int16(binary.BigEndian.Uint16(data[i:])))
		if n == -1 {
			v.done, v.doneAt = true, int(i)
			v.irregular = left() > 2
			return v
		}
		bad.rows = v.rows
		if n < 0 || o.Columns > 0 && n != int64(o.Columns) {
			return bad
		}
		i += 2
		for ; n > 0; n-- {
			if left() < 4 {
				return bad
			}
			size := int64(int32(binary.BigEndian.Uint32(data[i:])))
			i += 4
			if size == -1 {
				continue
			}
			if size < 0 || size > 1<<30-1 || size > left() {
				return bad
			}
			i += size
		}
		v.final.Rows++
		v.final.Lines++
		v.rows = append(v.rows, rowEnd{int(i), v.final, false})
	}
	return v
}

func refer(o Options, data []byte) verdict {
	if o.Format == "binary" {
		return refBinary(o, data)
	}
	return refLines(o, data)
}

// chunker returns the length of the next chunk.
type chunker func(left int) int

func whole(left int) int { return left }
func bytewise(int) int   { return 1 }

func randomly(seed uint64) chunker {
	r := rand.New(rand.NewPCG(seed, 1))
	limit := []int{3, 20, 70, 150, 5000}[r.IntN(5)]
	return func(int) int { return r.IntN(limit) }
}

// compare scans data in chunks and checks every result against the reference.
func compare(o Options, data []byte, next chunker) error {
	s, err := New(o)
	if err != nil {
		return fmt.Errorf("new: %w", err)
	}
	v := refer(o, data)
	c := &comparison{verdict: v, format: o.Format, data: data}
	for base, empty := 0, 0; base < len(data) || empty == 0; {
		n := min(next(len(data)-base), len(data)-base)
		if base == len(data) {
			empty++
		}
		r, err := s.Scan(data[base : base+n])
		if err != nil {
			return c.failed(s, err)
		}
		if err := c.check(r, base, n); err != nil {
			return fmt.Errorf("chunk at %d of %d bytes: %+v: %w", base, n, r, err)
		}
		base += n
	}
	end, err := s.End()
	if err != nil {
		return c.failed(s, err)
	}
	switch {
	case v.irregular:
		return fmt.Errorf("ended at %+v, want irregular", end)
	case end != v.final:
		return fmt.Errorf("ended at %+v, want %+v", end, v.final)
	case c.done != v.done:
		return fmt.Errorf("done %v, want %v", c.done, v.done)
	}
	return nil
}

type comparison struct {
	verdict
	format string
	data   []byte
	last   Position // at the last cut
	done   bool
}

func (c *comparison) failed(s Scanner, err error) error {
	if !errors.Is(err, ErrIrregular) || !c.irregular {
		return fmt.Errorf("scan: %w, want irregular %v", err, c.irregular)
	}
	if _, err := s.Scan([]byte("x\n")); !errors.Is(err, ErrIrregular) {
		return fmt.Errorf("scan after irregular: %v", err)
	}
	if _, err := s.End(); !errors.Is(err, ErrIrregular) {
		return fmt.Errorf("end after irregular: %v", err)
	}
	return nil
}

func (c *comparison) check(r Result, base, n int) error {
	if c.done {
		if want := (Result{At: c.final, Done: true}); r != want {
			return fmt.Errorf("after done, want %+v", want)
		}
		return nil
	}
	if skip := min(max(c.skip-base, 0), n); c.format == "binary" && !c.irregular && r.Skip != skip {
		return fmt.Errorf("want skip %d", skip)
	}
	var last Position
	cut := 0
	for _, e := range c.rows {
		if e.off > base+n || e.eof || e.off == base+n && e.off == c.loneCR && !r.Done {
			break
		}
		if last = e.at; e.off > base {
			cut = e.off - base
		}
	}
	if r.Cut < r.Skip || r.Cut > n || r.Back != 0 && (r.Cut != 0 || !r.Done) {
		return errors.New("impossible result")
	}
	if r.Done {
		c.done = true
		if !c.verdict.done || base+r.Cut-r.Back != c.doneAt || r.At != c.final {
			return fmt.Errorf("want done %v at offset %d, %+v", c.verdict.done, c.doneAt, c.final)
		}
		return nil
	}
	if cut > 0 {
		c.last = last
	}
	if cut = max(cut, r.Skip); r.Cut != cut || r.At != c.last {
		return fmt.Errorf("want cut %d at %+v", cut, c.last)
	}
	return nil
}

func compareAll(t testing.TB, o Options, data []byte, seed uint64) {
	t.Helper()
	for name, next := range map[string]chunker{"whole": whole, "bytes": bytewise, "random": randomly(seed)} {
		if err := compare(o, data, next); err != nil {
			t.Fatalf("%+v %q, %s (seed %d): %v", o, data, name, seed, err)
		}
	}
}
