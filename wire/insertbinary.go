package wire

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// Rows that would go as COPY text go as COPY binary where each value has one that
// is surely the same: what values makes of a constant is turned as the text of a
// COPY is. The first value that has none takes its statement to text.

// maxTurned is the longest message whose rows are turned. The binary form may be
// several times as long, which is taken from the budget when it shows.
const maxTurned = 1 << 20

// errUnturned says that rows go as text.
var errUnturned = errors.New("rows go as text")

// turner turns the rows of statements into one table.
type turner struct {
	insp     *rewrite.Inspection
	settings transcode.Settings
	rows     *transcode.Transcoder
}

// turnSettings are the session's: what the server reports, and what was inspected of
// the rest. It holds s.mu.
func (s *session) turnSettings(in *rewrite.Inspection) transcode.Settings {
	return transcode.Settings{
		Version: in.Version, ArrayNulls: in.ArrayNulls, ClientEncoding: s.params["client_encoding"], ServerEncoding: s.params["server_encoding"],
		TimeZone: s.params["TimeZone"], IntervalStyle: s.params["IntervalStyle"],
	}
}

// turner returns nil where the rows have to go as text. Distributed servers have
// not been compared with.
func (t *insertTask) turner() *turner {
	s, in := t.s, t.insp
	if !s.srv.loader.Transcodes() || in.Segmented || in.Sharding != nil || in.Spread || t.size() > maxTurned {
		return nil
	}
	s.mu.Lock()
	settings := s.turnSettings(in)
	s.mu.Unlock()
	var st *preparedInsert
	if t.batch != nil {
		st = t.batch.st
		if st.unturned || st.turner != nil && st.turner.insp == in && st.turner.settings == settings {
			return st.turner
		}
	}
	columns := make([]transcode.Column, t.stmt.Targets())
	for i := range columns {
		columns[i] = transcode.Column{Base: in.Types[i].Base, Typmod: in.Types[i].Typmod, Enum: in.IsEnum(i)}
	}
	rows, err := transcode.New(columns, transcode.Format{}, settings)
	if err != nil {
		return nil
	}
	r := &turner{insp: in, settings: settings, rows: rows}
	if st != nil {
		st.turner = r
	}
	return r
}

// unturn has the next rows of the same kind go as text, too.
func (t *insertTask) unturn() {
	if t.batch != nil {
		t.batch.st.turner, t.batch.st.unturned = nil, true
		t.batch.encoded = 0
	}
}

// size is how long the client's message is, or the run of them.
func (t *insertTask) size() int {
	if t.batch != nil {
		return t.batch.size
	}
	return len(t.stmt.SQL)
}

// fits says whether the settings are still those that it was made for.
func (r *turner) fits(s *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turnSettings(r.insp) == r.settings
}

// encodeTurned makes a Query with COPYs in binary, and their data. It answers false
// where the rows have to go as text.
func (t *insertTask) encodeTurned(r *turner, encoder *values.Encoder, before, after string, each func(func([]values.Cell) error) error) bool {
	c := &binaryCopy{per: math.MaxInt}
	if t.splits() && t.stmt.Rows <= maxSplitRows {
		c.per = rowsPerCopy
	}
	out := c.begin(t.out[:0])
	room := t.size()
	err := each(func(cells []values.Cell) error {
		texts, err := encoder.Texts(cells)
		if err != nil {
			return err
		}
		if len(out) > room {
			if !t.takeMore(room) {
				return errUnturned
			}
			room *= 2
		}
		out, err = r.rows.AppendRow(c.row(out), texts)
		return err
	})
	if err != nil {
		t.out = out[:0]
		t.giveMore()
		return false
	}
	sql := strings.Repeat(t.stmt.BinarySQL(t.insp)+"; ", c.copies)
	t.out = slices.Insert(c.end(out), 0, frame.AppendString(nil, 'Q', before+sql[:len(sql)-2]+after)...)
	return true
}

// takeMore takes memory for the statement besides what its message has.
func (t *insertTask) takeMore(n int) bool {
	if !t.s.srv.loader.Memory().Reserve(int64(n)) {
		return false
	}
	t.more += int64(n)
	return true
}

// giveMore gives it back.
func (t *insertTask) giveMore() {
	t.s.srv.loader.Memory().Return(t.more)
	t.more = 0
}
