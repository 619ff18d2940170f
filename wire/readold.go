package wire

import (
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// maxAsked bounds for how many statements it is kept that the server was asked.
const maxAsked = 1024

// parsedAnew notes a Parse. Of a name that is taken the server refuses it, and the
// old statement stays.
func (r *reading) parsedAnew(name []byte) {
	if ch := r.changes[string(name)]; ch != nil && len(name) > 0 {
		ch.unsure = true
	} else {
		delete(r.changes, string(name))
	}
}

// judgedBy notes by which names a text was judged.
func (r *reading) judgedBy(set *rewrite.KnownSet) {
	if r.first == 0 {
		r.first = set.Version() + 1
	}
}

// oldChange says whether a statement may be an UPDATE or DELETE that was prepared
// before its table was known to be routed. It holds s.mu.
func (s *session) oldChange(name []byte) bool {
	r, set := &s.reads, s.judge()
	v := set.Version() + 1
	return len(name) > 0 && r.first != 0 && v != r.first && !set.None() && r.asked[string(name)] != v
}

// askChange asks the server what a name stands for, before the Bind at the front of
// the buffer. It returns nil where that goes as it is, or was refused.
func (s *session) askChange(name []byte, size int) (*preparedChange, error) {
	key := string(name)
	s.mu.Lock()
	v := s.judge().Version() + 1
	s.mu.Unlock()
	if ok, err := s.waitFlushed(); err != nil {
		return nil, err
	} else if !ok || s.txStatus() == 'E' {
		return nil, s.relayOne(entBind) // the server ignores it, or refuses
	}
	sql, e, err := s.preparedText(key)
	if e != nil && err == nil {
		return nil, s.failParse(e.With('P', ""), []byte(key), size)
	}
	if err != nil {
		return nil, err
	}
	if ch := s.reads.changes[key]; ch != nil && ch.sql == sql {
		ch.unsure = false
		return ch, nil
	}
	delete(s.reads.changes, key)
	t := &readTask{s: s, extended: true}
	if sql != "" && t.parse([]byte(sql)) == rewrite.ReasonNone && t.stmt.Changes() {
		reason, err := t.decide()
		e := pgerr.As(err)
		if e == nil && err != nil {
			return nil, err
		}
		if e == nil && reason == rewrite.ReasonNone && t.plan.Aux.SQL != "" {
			if e, err = s.refuseOld(); err != nil {
				return nil, err
			}
		}
		if e != nil {
			return nil, s.failParse(e, []byte(key), size)
		}
	}
	if s.reads.asked == nil || len(s.reads.asked) >= maxAsked {
		s.reads.asked = make(map[string]uint64)
	}
	s.reads.asked[key] = v
	return nil, nil // the walk comes again
}

// refuseOld makes the server fail, so that it ignores what follows up to the Sync.
func (s *session) refuseOld() (*pgerr.Error, error) {
	in := s.inject()
	defer in.release()
	_, e, err := in.queryFlushed(s.ctx, rewrite.RaiseSQL(pgerr.FeatureNotSupported,
		"pgbulkproxy: this statement was prepared before its table was routed, and would change the main table alone"))
	if e != nil {
		e = e.With('W', "").With('P', "").With('H', "Prepare it again.")
	}
	return e, err
}

// preparedText asks for the text of a prepared statement. Between pipelines that is a
// transaction of its own: the statement may be a BEGIN.
func (s *session) preparedText(name string) (sql string, e *pgerr.Error, err error) {
	in := s.inject()
	if s.unsynced {
		defer in.release()
		return in.queryFlushed(s.ctx, rewrite.PreparedSQL(name))
	}
	results, err := in.Exec(s.ctx, rewrite.PreparedSQL(name))
	in.release()
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return "", nil, nil // no such name in this encoding: the server says so
	}
	if err != nil {
		return "", nil, err
	}
	return firstField(results[len(results)-1].Rows), nil, s.restoreUnnamed()
}
