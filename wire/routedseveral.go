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

// insertPart is one INSERT of a text of several, as batches of clients are that
// know no parameters. They run one after the other in one transaction, as they do
// natively outside a block, too.
type insertPart struct {
	sql  []byte
	stmt *rewrite.InsertStatement
	any  *rewrite.AnyInsert // nil where its rows are constants
	skip int                // the characters before it in the text
}

// insertParts reads a text of several INSERTs; nil where it is not that, or where
// the server might see its statements elsewhere.
func (s *session) insertParts(a *rewrite.AnyText, sql []byte) []insertPart {
	s.mu.Lock()
	opts, ok := s.insertOptions()
	s.mu.Unlock()
	ascii := bytes.IndexFunc(sql, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
	if !opts.UTF8 && !ascii || !opts.StandardStrings && bytes.IndexByte(sql, '\\') >= 0 {
		return nil
	}
	var parts []insertPart
	at, skip := 0, 0
	for _, span := range a.Inserts {
		skip += utf8.RuneCount(sql[at:span[0]])
		at = span[0]
		p := insertPart{sql: sql[span[0]:span[1]], skip: skip}
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

// runParts runs the INSERTs of a text. The first error ends them.
func (t *insertTask) runParts(parts []insertPart, size int) error {
	var out []byte
	var failed *pgerr.Error
	var last *insertTask
	for i := 0; i < len(parts) && failed == nil; i++ {
		var reply []byte
		var err error
		if last, reply, failed, err = parts[i].run(t.s, last); err != nil {
			return err
		}
		out = append(out, reply...)
	}
	r := &routedInsert{t: t, in: t.s.inject(), raw: true, kept: out}
	switch {
	case failed != nil && isGrammar(failed):
		r.kept = nil // the server parses all of a text before it runs any
	case failed == nil:
		// Where the transaction can't end, the last statement has no tag.
		tag := lastFrame(out)
		r.kept, r.tag = out[:tag:tag], out[tag:]
	}
	return r.finish(failed, nil, size)
}

// isGrammar says that an error is of a text that an older server's grammar does not
// know; not one inside of a function.
func isGrammar(e *pgerr.Error) bool {
	return e.Get('q') == "" && (e.Get('R') == "scanner_yyerror" || e.Get('R') == "base_yyparse")
}

// run runs one; out is for the client, also where it fails. last is the one before.
func (p *insertPart) run(s *session, last *insertTask) (t *insertTask, out []byte, failed *pgerr.Error, err error) {
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
func (t *insertTask) leaves(p *insertPart) bool {
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
