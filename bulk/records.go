package bulk

import (
	"bytes"
	"errors"
	"fmt"
	"sort"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
)

// records says where the records of a file begin, which are its rows and,
// before them in a load's first file, the header lines. It keeps a mark for
// every few thousand bytes, and looks for the records in between when asked.
type records struct {
	held  *held
	opts  rows.Options
	eol   string
	marks []mark
	// between are the records behind marks[block], up to the next mark.
	block   int
	between []mark
}

// mark is the beginning of a record: its offset in the file, and how many
// records of the file and lines of the client's data are before it.
type mark struct{ off, n, lines int64 }

// markBytes is how far marks are apart, and what is looked at again to find a
// record between them.
const markBytes = 16 << 10

// scanOptions describe the client's data.
func (s *Spec) scanOptions() rows.Options {
	c := s.Statement
	return rows.Options{
		Format: string(c.Format), Quote: c.Quote, Escape: c.Escape, HeaderLines: c.HeaderLines,
		Columns: len(s.Decision.Ext.DataColumns(s.Inspection)), CSVMarker: s.Inspection.Version < 180000,
	}
}

// newRecords looks through a file of text or csv.
func newRecords(f *file, o rows.Options) (*records, error) {
	o.HeaderLines = 0
	r := &records{held: f.held, opts: o, eol: f.eol, block: -1, marks: []mark{{lines: f.before.Lines}}}
	sc, primed, err := r.scanner(f.number > 1)
	if err != nil {
		return nil, err
	}
	at := func(p rows.Position) mark { return mark{n: p.Rows, lines: f.before.Lines + p.Lines - primed} }
	off := int64(0)
	err = r.pieces(0, f.held.Size(), func(p []byte) error {
		res, err := sc.Scan(p)
		if err != nil {
			return fmt.Errorf("scan file %d: %w", f.number, err)
		}
		if res.Cut > 0 {
			m := at(res.At)
			m.off = off + int64(res.Cut)
			r.marks = append(r.marks, m)
		}
		off += int64(len(p))
		return nil
	})
	if err != nil {
		return nil, err
	}
	pos, err := sc.End()
	if err != nil {
		return nil, fmt.Errorf("scan file %d: %w", f.number, err)
	}
	if end := at(pos); end.n > r.count() {
		end.off = f.held.Size()
		r.marks = append(r.marks, end)
	}
	if f.number == 1 && len(r.marks) > 1 {
		r.eol = lineEndAt(f.held, r.marks[1].off)
	}
	return r, nil
}

// scanner returns a scanner for data that begins at a record. primed has it know
// how lines end, by a line that it has counted.
func (r *records) scanner(primed bool) (rows.Scanner, int64, error) {
	o := r.opts
	if primed && r.eol != "" {
		o.HeaderLines = 1
	}
	sc, err := rows.New(o)
	if err != nil {
		return nil, 0, fmt.Errorf("scan rows: %w", err)
	}
	if o.HeaderLines == 0 {
		return sc, 0, nil
	}
	if _, err := sc.Scan([]byte(r.eol)); err != nil {
		return nil, 0, fmt.Errorf("scan rows: %w", err)
	}
	return sc, 1, nil
}

// count is the number of records.
func (r *records) count() int64 { return r.marks[len(r.marks)-1].n }

// pieces calls fn with the content between from and to, at most markBytes at a
// time.
func (r *records) pieces(from, to int64, fn func([]byte) error) error {
	return r.held.each(from, to, func(p []byte) error {
		for len(p) > 0 {
			n := min(len(p), markBytes)
			if err := fn(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		return nil
	})
}

// at returns where record n begins, counted from 0; the end of the data for the
// one behind the last.
func (r *records) at(n int64) (mark, error) {
	i := sort.Search(len(r.marks), func(i int) bool { return r.marks[i].n >= n })
	if i == len(r.marks) {
		return mark{}, fmt.Errorf("record %d of %d", n, r.count())
	}
	if r.marks[i].n == n {
		return r.marks[i], nil
	}
	if err := r.expand(i - 1); err != nil {
		return mark{}, err
	}
	return r.between[n-r.marks[i-1].n-1], nil
}

// onLine returns the record that has that line of the client's data; -1 where
// there is none.
func (r *records) onLine(line int64) (int64, error) {
	i := sort.Search(len(r.marks), func(i int) bool { return r.marks[i].lines >= line })
	if i == 0 || i == len(r.marks) {
		return -1, nil
	}
	if err := r.expand(i - 1); err != nil {
		return -1, err
	}
	j := sort.Search(len(r.between), func(j int) bool { return r.between[j].lines >= line })
	return r.between[j].n - 1, nil
}

// expand finds the records between a mark and the next. They all end in the
// last piece that was scanned for it, so there are few.
func (r *records) expand(block int) error {
	if r.block == block {
		return nil
	}
	r.block, r.between = -1, r.between[:0]
	from, to := r.marks[block], r.marks[block+1]
	sc, _, err := r.scanner(true)
	if err != nil {
		return err
	}
	off := from.off
	err = r.pieces(from.off, to.off, func(p []byte) error {
		for len(p) > 0 {
			n := len(p)
			if i := bytes.IndexAny(p, "\r\n"); i >= 0 {
				n = i + 1
			}
			res, err := sc.Scan(p[:n])
			if err != nil {
				return fmt.Errorf("scan rows: %w", err)
			}
			off += int64(n)
			if res.Cut > 0 {
				r.between = append(r.between, mark{off: off - int64(n-res.Cut), n: from.n + res.At.Rows, lines: res.At.Lines})
			}
			p = p[n:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n := len(r.between); n == 0 || r.between[n-1].n < to.n {
		pos, err := sc.End() // a last line without an end
		if err != nil {
			return fmt.Errorf("scan rows: %w", err)
		}
		r.between = append(r.between, mark{off: off, n: from.n + pos.Rows, lines: pos.Lines})
	}
	return r.settle(block)
}

var errRecords = errors.New("the records of a file can't be found again")

// settle checks what expand found, and gives it the lines of the data: before
// the first line's end a scanner counts otherwise than behind it.
func (r *records) settle(block int) error {
	from, to := r.marks[block], r.marks[block+1]
	last := len(r.between) - 1
	if int64(len(r.between)) != to.n-from.n || r.between[last].off != to.off {
		return errRecords
	}
	shift := to.lines - r.between[last].lines
	for i := range r.between {
		r.between[i].lines += shift
	}
	r.block = block
	return nil
}

// raw returns the bytes of a record, without its line end and no more than
// most of them.
func (r *records) raw(from, to mark, most int64) ([]byte, error) {
	p := make([]byte, min(to.off-from.off, most))
	if _, err := r.held.ReadAt(p, from.off); err != nil {
		return nil, err
	}
	if int64(len(p)) == to.off-from.off {
		p = bytes.TrimSuffix(p, []byte(r.eol))
	}
	return p, nil
}
