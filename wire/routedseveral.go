package wire

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// seriesPart is one piece of a text of several statements: an INSERT that may be into
// a routed table, or statements that go to the server as they are.
type seriesPart struct {
	sql  []byte
	stmt *rewrite.InsertStatement // nil where it is no INSERT
	any  *rewrite.AnyInsert       // nil where its rows are constants
	skip int                      // the characters before it in the text
}

// maxPadded bounds what is sent in front of pieces to keep the positions in errors.
const maxPadded = 16 << 20

// seriesParts reads the pieces of a text; nil where it can't go as a series, or where
// the server might see its statements elsewhere.
func (s *session) seriesParts(series *rewrite.Series, sql []byte) []seriesPart {
	s.mu.Lock()
	opts, ok := s.insertOptions()
	reads := s.reads.known
	s.mu.Unlock()
	ascii := bytes.IndexFunc(sql, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
	if !opts.UTF8 && !ascii || !opts.StandardStrings && bytes.IndexByte(sql, '\\') >= 0 {
		return nil
	}
	var parts []seriesPart
	at, skip, padded := 0, 0, 0
	for _, piece := range series.Pieces {
		skip += utf8.RuneCount(sql[at:piece.Start])
		at = piece.Start
		p := seriesPart{sql: sql[piece.Start:piece.End], skip: skip}
		if !piece.Insert {
			padded += skip
			if padded > maxPadded || reads != nil && reads.Set().Reads(p.sql) {
				return nil
			}
			parts = append(parts, p)
			continue
		}
		reason := rewrite.ReasonClientEncoding
		if ok {
			p.stmt, reason = s.parseInsert(p.sql, opts)
		}
		if reason != rewrite.ReasonNone {
			if p.any = rewrite.ParseAny(p.sql).Insert; p.any == nil {
				return nil
			}
			p.stmt = p.any.Statement
		}
		parts = append(parts, p)
	}
	return parts
}

// isGrammar says that an error is of a text that an older server's grammar does not
// know; not one inside of a function.
func isGrammar(e *pgerr.Error) bool {
	return e.Get('q') == "" && (e.Get('R') == "scanner_yyerror" || e.Get('R') == "base_yyparse")
}

// run runs one; out is for the client, also where it fails. last is the one before.
func (p *seriesPart) run(s *session, last *insertTask) (t *insertTask, out []byte, failed *pgerr.Error, err error) {
	t = &insertTask{s: s, stmt: p.stmt, inBlock: true, began: time.Now()}
	if last.leaves(p) {
		t.insp, t.routes, t.opened = last.insp, last.routes, true
	} else if _, failed, err = t.enterTarget(); failed != nil && isWaitError(failed) && failed.Code() != pgerr.QueryCanceled && p.any == nil {
		failed = failed.With('P', strconv.Itoa(p.stmt.NamePosition())) // see decide
	}
	r := &routedInsert{t: t, in: s.inject()}
	switch {
	case failed != nil || err != nil:
	case !t.routed():
		failed, err = r.asIs(p.sql)
	case p.any != nil:
		failed, err = r.viaTemp(p.any)
	default:
		failed, err = r.run()
	}
	if failed == nil && err == nil {
		failed, err = r.end()
	}
	if failed != nil && err == nil {
		err = r.abort()
	}
	r.in.release()
	if err != nil {
		return nil, nil, nil, err
	}
	if failed == nil {
		return t, r.reply(), nil, nil
	}
	if at, perr := strconv.Atoi(failed.Get('P')); perr == nil {
		failed = failed.With('P', strconv.Itoa(at+p.skip))
	}
	return t, r.kept, failed, nil
}

// leaves says whether what the one before has found is true for the next: nothing
// of the user's ran in between.
func (t *insertTask) leaves(p *seriesPart) bool {
	if t == nil || t.insp == nil || p.any != nil || !t.stmt.Reusable(t.insp) || t.insp.ReadOnly {
		return false
	}
	if r := t.insp.Routing; r != nil && (r.Table == nil || r.Table.UserCode || r.Table.Triggers || r.Table.Rules) {
		return false
	}
	l := lastInsert{schema: t.stmt.Schema, table: t.stmt.Table, columns: t.stmt.Columns}
	return l.fits(p.stmt)
}

// lastFrame is where the last of whole frames begins.
func lastFrame(frames []byte) (at int) {
	for next := 0; next < len(frames); {
		_, size, err := frame.Head(frames[next:])
		if err != nil {
			break
		}
		at, next = next, next+frame.HeaderLen+size
	}
	return at
}
