package wire

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// seriesRun runs the pieces of a text one after the other: its INSERTs into routed
// tables, and what stands between them, whose replies go to the client as they come.
// The first error ends it.
type seriesRun struct {
	t      *insertTask
	series *rewrite.Series
	size   int
	ours   bool              // our block is open
	before map[string]string // the session's parameters
	kept   []byte            // what the client gets next
	bounds []int             // of the session's pending messages: where each piece's end
	tag    []byte            // and this, when the next statement begins, or the transaction has ended well
}

// runSeries runs a text; size is the length of the client's message.
func (t *insertTask) runSeries(series *rewrite.Series, parts []seriesPart, sql []byte, size int) error {
	x := &seriesRun{t: t, series: series, size: size, ours: !t.inBlock && t.s.txStatus() == 'T'}
	t.s.mu.Lock()
	x.before = maps.Clone(t.s.params)
	t.s.mu.Unlock()
	if x.ours && series.Ours > 0 {
		if err := x.exec("ROLLBACK"); err != nil {
			return err
		}
		x.ours = false
	}
	if !series.Inserts {
		if failed, err := x.parse(sql); failed != nil || err != nil {
			return x.finish(failed, err)
		}
	}
	var last *insertTask
	for i := range parts {
		x.bound()
		if i == series.Ours && !x.ours {
			if err := x.exec("BEGIN"); err != nil {
				return err
			}
			x.ours = true
		}
		p := &parts[i]
		if p.stmt == nil {
			last = nil
			if ok, err := x.relay(p, x.ours && i == len(parts)-1); err != nil || !ok {
				return x.end(err)
			}
			continue
		}
		var reply []byte
		var failed *pgerr.Error
		var err error
		if last, reply, failed, err = p.run(t.s, last); err != nil {
			return err
		}
		x.take(reply, failed == nil)
		if failed != nil {
			return x.finish(failed, nil)
		}
	}
	return x.finish(nil, nil)
}

// bound notes that what the server tells from now on is of another piece.
func (x *seriesRun) bound() {
	x.t.s.mu.Lock()
	defer x.t.s.mu.Unlock()
	x.bounds = append(x.bounds, len(x.t.s.pending))
}

// exec runs a statement of ours that can't fail.
func (x *seriesRun) exec(sql string) error {
	in := x.t.s.inject()
	defer in.release()
	_, err := in.Exec(x.t.s.ctx, sql)
	return err
}

// take adds the reply to an INSERT, which ends with its tag unless it has failed.
func (x *seriesRun) take(reply []byte, tagged bool) {
	x.kept = append(x.kept, x.tag...)
	tag := len(reply)
	if tagged {
		tag = lastFrame(reply)
	}
	x.kept, x.tag = append(x.kept, reply[:tag]...), reply[tag:]
}

// flush gives the client what it is to have before the next statement.
func (x *seriesRun) flush() error {
	out := append(x.kept, x.tag...)
	x.kept, x.tag = nil, nil
	if len(out) == 0 {
		return nil
	}
	return x.t.s.writeClient(out)
}

// parse has the server parse the text, as it does before it runs any of it.
func (x *seriesRun) parse(sql []byte) (failed *pgerr.Error, err error) {
	r := &routedInsert{t: x.t, in: x.t.s.inject()}
	defer r.in.release()
	block := x.t.s.txStatus() == 'T'
	if block {
		if failed, err = r.exec(setAsking); failed != nil || err != nil {
			return failed, err
		}
	}
	failed, err = r.parseText(sql)
	if block && err == nil {
		_, err = r.in.Exec(x.t.s.ctx, undoAsking+"; "+endAsking)
	}
	return failed, err
}

// parseText asks what the server's grammar has against a text of several statements.
// The transaction has failed then.
func (r *routedInsert) parseText(sql []byte) (failed *pgerr.Error, err error) {
	parse := frame.Append(nil, 'P', append(append([]byte{0}, sql...), 0, 0, 0))
	failed, err = r.query(frame.Append(parse, 'S', nil))
	// That it takes one statement only, it says when it has parsed them.
	if failed != nil && failed.Get('R') == "exec_parse_message" {
		failed = nil
	}
	return failed, err
}

// relay sends statements as they are. The last tag of a text stays with us where our
// COMMIT comes before it, as the server's own would.
func (x *seriesRun) relay(p *seriesPart, hold bool) (ok bool, err error) {
	if err := x.flush(); err != nil {
		return false, err
	}
	s := x.t.s
	s.mu.Lock()
	s.queue.push(entQuery | hideReady)
	s.holding, s.queryFailed = hold, false
	s.coal.look(p.sql)
	s.mu.Unlock()
	out := append(frame.AppendHead(nil, 'Q', 0), bytes.Repeat([]byte{' '}, p.skip)...)
	if err := s.writeServer(endQuery(append(out, p.sql...))); err != nil {
		return false, err
	}
	idle, err := s.waitIdle()
	if err != nil {
		return false, err
	}
	if !idle {
		return false, errors.New("the server's replies can't be followed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.tag, s.held, s.holding = s.held, nil, false
	return !s.queryFailed, nil
}

// parameter is one that pieces of a series have changed.
type parameter struct {
	piece int // the first that did
	name  string
}

// keepParameters leaves of the changed parameters what the server would have told at
// the end of one Query: those that have another value than before, each once, in its
// order.
func (x *seriesRun) keepParameters() {
	s := x.t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []byte
	var changed []parameter
	piece, at := 0, 0
	for at < len(s.pending) {
		for piece < len(x.bounds) && at >= x.bounds[piece] {
			piece++
		}
		f, whole := frameAt(s.pending[at:])
		if !whole {
			return
		}
		if at += len(f.raw()); f.typ != 'S' {
			out = append(out, f.raw()...)
			continue
		}
		name, _, _ := frame.CString(f.body())
		key := string(name)
		if _, there := s.params[key]; there && x.before[key] != s.params[key] {
			x.before[key] = s.params[key]
			changed = append(changed, parameter{piece, key})
		}
	}
	for _, p := range reportOrder(changed, s.params["server_version"]) {
		out = frame.AppendString(out, 'S', p.name+"\x00"+s.params[p.name])
	}
	s.pending = out
}

// reportOrder sorts parameters as ReportChangedGUCOptions of guc.c does: by name, and
// since PostgreSQL 16 the one that changed last first, as each piece's are already.
func reportOrder(changed []parameter, version string) []parameter {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	slices.SortStableFunc(changed, func(a, b parameter) int {
		if err == nil && n < 16 {
			return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
		}
		return b.piece - a.piece
	})
	return changed
}

// end ends a series in which the server has told the client an error.
func (x *seriesRun) end(err error) error {
	s := x.t.s
	if err == nil && x.ours {
		err = x.exec("ROLLBACK")
	}
	if err != nil {
		return err
	}
	x.keepParameters()
	s.last, s.coal.usual = nil, false
	s.cr.Discard(x.size)
	return s.writeClient(readyFrame(s.takePending(), s.txStatus()))
}

// finish ends a series of which the client does not know an error.
func (x *seriesRun) finish(failed *pgerr.Error, err error) error {
	r := &routedInsert{t: x.t, in: x.t.s.inject(), raw: true, kept: x.kept, tag: x.tag}
	if failed != nil && x.series.Inserts && isGrammar(failed) {
		r.kept, r.tag = nil, nil // the server parses all of a text before it runs any
	} else if failed != nil {
		r.kept = append(r.kept, r.tag...)
	}
	if x.ours && failed == nil && err == nil {
		failed, err = r.exec("COMMIT")
	} else if x.ours && err == nil {
		x.t.inBlock = false
		err = r.abort()
	}
	x.t.inBlock = true // what is left is the client's block, if any
	x.keepParameters()
	return r.finish(failed, err, x.size)
}
