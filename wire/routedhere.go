package wire

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// wanted is an answer of the server that is to come.
type wanted struct {
	kind entry
	unit int // -1: the client does not see it
	// Of a unit that is cut in pieces, piece is which, counted from 0.
	piece int
}

// cutUnit is a unit with rows for both tables.
type cutUnit struct {
	pieces []rewrite.RoutedPiece
	rows   [][][]byte // of each piece
	counts []int64
}

// routedHere sends a run whose answers are not those of the client's messages as
// they are: of rows for both tables, or where RowDescription tells of the
// auxiliary table.
type routedHere struct {
	*routedExec
	wants []wanted
	cut   map[int]*cutUnit
	reply []byte
	wrong rewrite.Reason // why the answers are of no use
}

// runHere sends the run, takes the answers, and answers the client.
func (x *routedExec) runHere() (*pgerr.Error, error) {
	h := &routedHere{routedExec: x, cut: make(map[int]*cutUnit)}
	r, s := x.r, x.r.s
	x.begin()
	for range x.entries {
		h.wants = append(h.wants, wanted{kind: entParse, unit: -1})
	}
	for i := range r.units {
		if reason := h.appendUnit(i); reason != rewrite.ReasonNone {
			return r.refusal(reason), nil
		}
	}
	x.out = frame.Append(x.out, 'S', nil)
	failed, err := r.exchange(x.out, 1, h.take)
	s.mu.Lock()
	if s.auxFor, s.auxText = r.st, x.current; failed != nil || err != nil {
		s.auxFor = nil
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if failed == nil && h.wrong != rewrite.ReasonNone {
		failed = r.refusal(h.wrong)
	}
	if failed != nil {
		r.reply = h.reply
		return failed, nil
	}
	s.unsynced, s.executed, s.pipe, s.last = true, true, pipeline{}, nil
	s.srv.metrics.count(rewrite.KindInsert, routedWay)
	s.cr.Discard(r.size)
	s.plain, s.cleared = max(0, s.plain-r.size), 0
	return nil, s.writeClient(h.reply)
}

// appendUnit appends the messages of one unit.
func (h *routedHere) appendUnit(i int) rewrite.Reason {
	r := h.r
	u := &r.units[i]
	if slices.Contains(u.aux, true) && slices.Contains(u.aux, false) {
		return h.appendCut(i, u)
	}
	want := func(kind entry) { h.wants = append(h.wants, wanted{kind: kind, unit: i}) }
	if u.aux[0] {
		h.appendParse(h.text(rewrite.RoutedPiece{Aux: true, To: len(u.aux)}, u.aux))
		h.out = r.appendBind(h.out, u, string(u.portal)+"\x00", auxStatement, true)
	} else {
		h.out = append(h.out, r.message(u.bind).raw()...)
	}
	want(entBind)
	if u.describe < u.execute {
		h.out = append(h.out, r.message(u.describe).raw()...)
		want(entDescribe)
	}
	if u.execute < u.end {
		h.out = append(h.out, r.message(u.execute).raw()...)
		want(entExecute)
	}
	return rewrite.ReasonNone
}

func (h *routedHere) appendParse(sql string) {
	before := len(h.entries)
	h.parse(sql, 0)
	for _, e := range h.entries[before:] {
		h.wants = append(h.wants, wanted{kind: e, unit: -1})
	}
}

// appendCut appends a unit as a statement for each run of rows of one table; or,
// where only one statement sees that it would change a row twice, for each table.
func (h *routedHere) appendCut(i int, u *routedUnit) rewrite.Reason {
	r, in := h.r, h.r.t.insp
	limited := true
	if u.execute < u.end {
		body := r.message(u.execute).body()
		limited = h.stmt.Returning != "" && binary.BigEndian.Uint32(body[len(body)-4:]) != 0
	}
	switch {
	case limited:
		return rewrite.ReasonRowLimit
	case in.StatementTriggers:
		return rewrite.ReasonStatementTriggers
	case in.SelfReference:
		return rewrite.ReasonSelfReference
	}
	c := &cutUnit{pieces: rewrite.RoutedByRuns(u.aux)}
	if h.stmt.Conflict == rewrite.ConflictUpdate {
		c.pieces = rewrite.RoutedByTable(u.aux)
	}
	h.cut[i] = c
	c.rows, c.counts = make([][][]byte, len(c.pieces)), make([]int64, len(c.pieces))
	for k, p := range c.pieces {
		h.appendParse(h.text(p, u.aux))
		h.out = r.appendBind(h.out, u, "\x00", auxStatement, true)
		h.wants = append(h.wants, wanted{entBind, i, k})
		if k == 0 && u.describe < u.execute {
			h.out = frame.Append(h.out, 'D', []byte{'P', 0})
			h.wants = append(h.wants, wanted{entDescribe, i, k})
		}
		h.out = append(h.out, execute...)
		h.wants = append(h.wants, wanted{entExecute, i, k})
	}
	return rewrite.ReasonNone
}

// take takes one answer.
func (h *routedHere) take(f captured) {
	if f.typ == 'N' {
		h.reply = frame.Append(h.reply, 'N', pgerr.Parse(f.body).With('P', "").AppendBody(nil))
	}
	if len(h.wants) == 0 || f.typ == 'N' {
		return
	}
	w := h.wants[0]
	ends := answers(w.kind, f.typ)
	if ends {
		h.wants = h.wants[1:]
	}
	if w.unit < 0 {
		return
	}
	if f.typ == 'T' {
		f.body = mainDescription(f.body, h.r.t.insp)
	}
	if c := h.cut[w.unit]; c != nil {
		h.takeCut(c, &w, f)
		return
	}
	h.reply = frame.Append(h.reply, f.typ, f.body)
}

// takeCut takes an answer to a piece.
func (h *routedHere) takeCut(c *cutUnit, w *wanted, f captured) {
	switch f.typ {
	case '2':
		if w.piece > 0 {
			return
		}
	case 'D':
		c.rows[w.piece] = append(c.rows[w.piece], f.body)
		return
	case 'C':
		tag, _, _ := frame.CString(f.body)
		c.counts[w.piece] = tagCount(string(tag))
		if w.piece == len(c.pieces)-1 {
			h.endCut(c, h.r.units[w.unit].aux)
		}
		return
	}
	h.reply = frame.Append(h.reply, f.typ, f.body)
}

// endCut appends the rows of all pieces, in the order of the client's, and the tag.
func (h *routedHere) endCut(c *cutUnit, aux []bool) {
	rows := slices.Concat(c.rows...)
	if c.pieces[0].To == len(aux) && h.stmt.Returning != "" {
		if len(rows) != len(aux) {
			h.wrong = rewrite.ReasonRoutedOrder
			return
		}
		rows = rows[:0:0]
		for _, a := range aux {
			k := 0
			if a == c.pieces[1].Aux {
				k = 1
			}
			rows, c.rows[k] = append(rows, c.rows[k][0]), c.rows[k][1:]
		}
	}
	for _, row := range rows {
		h.reply = frame.Append(h.reply, 'D', row)
	}
	total := int64(0)
	for _, n := range c.counts {
		total += n
	}
	h.reply = frame.AppendString(h.reply, 'C', "INSERT 0 "+strconv.FormatInt(total, 10))
}
