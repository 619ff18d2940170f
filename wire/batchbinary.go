package wire

import (
	"math"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// Rows that are nothing but parameters go to the server in COPY's binary format,
// which has the fields as Bind has them: most bytes are only copied.

// rowsPerCopy is how many rows one of several COPYs gets. For each row that it
// gathers a COPY of PostgreSQL remembers the same pointer once more, in a table
// in which equal ones collide: from 64 on, the cost grows with the square of
// their number up to 1000. So 1000 rows in COPYs of 48 cost the server half of
// what they cost in one (docs/benchmarks.md).
const rowsPerCopy = 48

// maxSplitRows is from where on one COPY is better: there are 1000 pointers then,
// however many rows.
const maxSplitRows = 4000

// binaryCopy writes rows in binary.
type binaryCopy struct {
	rows *values.BinaryRows
	// per is how many rows one COPY gets, in how many there are already.
	per, in int
	start   int // of the CopyData at hand in what is being written
	copies  int // that were begun
	// sql is set where the number of COPYs is not known beforehand: each gets a
	// Query of its own, and queries counts those behind the first.
	sql     string
	queries int
}

// binaryCopy returns nil where the run does not go in binary.
func (t *insertTask) binaryCopy() *binaryCopy {
	if t.batch == nil {
		return nil
	}
	rows := t.batch.st.binary(t.insp)
	if rows == nil {
		return nil
	}
	return &binaryCopy{rows: rows, per: math.MaxInt}
}

// encodeBinary makes a Query with COPYs, and their data. It answers false where
// a value is only known as text.
func (t *insertTask) encodeBinary(c *binaryCopy, before, after string) bool {
	b := t.batch
	total, copies := b.binds*b.st.stmt.Rows, 1
	if total <= maxSplitRows && t.splits() {
		c.per = rowsPerCopy
		copies = (total + c.per - 1) / c.per
	}
	sql := strings.Repeat(t.stmt.BinarySQL(t.insp)+"; ", copies)
	out := c.begin(frame.AppendString(t.out[:0], 'Q', before+sql[:len(sql)-2]+after))
	out, ok := b.appendBinary(out, c, t.s.cr.Buffered())
	t.out = c.end(out)
	return ok
}

// splits says whether the rows may go in several COPYs: what the server checks
// at the end of a statement may need all of them. Greenplum tells every segment of
// each COPY, which costs more than the rows do; Citus makes one into each shard.
func (t *insertTask) splits() bool {
	return !t.insp.Segmented && t.insp.Sharding == nil &&
		!t.insp.ForeignKeys && !t.insp.Deferrable && !t.insp.Exclusion
}

// next goes on with another COPY.
func (c *binaryCopy) next(out []byte) []byte {
	if out = c.end(out); c.sql != "" {
		out = frame.AppendString(out, 'Q', c.sql)
		c.queries++
	}
	if c.copies*c.per >= maxSplitRows {
		c.per = math.MaxInt
	}
	return c.begin(out)
}

// begin begins the data of a COPY.
func (c *binaryCopy) begin(out []byte) []byte {
	c.in = 0
	c.copies++
	return append(c.open(out), values.BinaryHead...)
}

// row makes room for one row.
func (c *binaryCopy) row(out []byte) []byte {
	switch {
	case c.in == c.per:
		out = c.next(out)
	case len(out)-c.start > maxCopyData:
		out = c.open(c.close(out))
	}
	c.in++
	return out
}

// open begins a CopyData, and close ends it.
func (c *binaryCopy) open(out []byte) []byte {
	c.start = len(out)
	return frame.AppendHead(out, 'd', 0)
}

func (c *binaryCopy) close(out []byte) []byte {
	frame.SetLen(out[c.start:])
	return out
}

// end ends the data of a COPY.
func (c *binaryCopy) end(out []byte) []byte {
	return frame.Append(c.close(append(out, values.BinaryEnd...)), 'c', nil)
}

// appendBinary appends the rows of those Binds that were not yet encoded.
func (b *batch) appendBinary(out []byte, c *binaryCopy, buffered []byte) ([]byte, bool) {
	for at := b.encoded; at < b.size; {
		typ, size, _ := frame.Head(buffered[at:])
		body := buffered[at+frame.HeaderLen:][:size]
		at += frame.HeaderLen + size
		var ok bool
		if typ != 'B' {
			continue
		}
		if out, ok = b.appendBind(out, c, body); !ok {
			return out, false
		}
	}
	b.encoded = b.size
	return out, true
}

// appendBind appends the rows of one Bind.
func (b *batch) appendBind(out []byte, c *binaryCopy, body []byte) ([]byte, bool) {
	formats, params, count, err := bindHead(body)
	if err != nil || count != b.st.stmt.MaxParam || !c.rows.Bind(formats, params, count) {
		return out, false
	}
	for c.rows.Left() > 0 {
		var ok bool
		if out, ok = c.rows.AppendRow(c.row(out)); !ok {
			return out, false
		}
	}
	b.results = c.rows.Rest()
	return out, isResults(b.results)
}
