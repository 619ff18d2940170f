package wire

import (
	"bytes"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// judge returns the names by which a statement that may insert is judged, and
// notes that it was. It holds s.mu.
func (s *session) judge() *rewrite.KnownSet {
	if s.known == nil {
		return nil
	}
	set := s.known.Set()
	if s.judged == 0 || s.settled() {
		s.judged = set.Version() + 1
	}
	return set
}

// settled says that all that was judged is answered, and that no portal is left that
// may insert: that of an EXECUTE finds its table when it runs. It holds s.mu.
func (s *session) settled() bool {
	if !s.atRest() {
		return false
	}
	if s.status == 'I' {
		clear(s.executing)
	}
	return len(s.executing) == 0
}

// noteExecuting notes the portal of an EXECUTE that is bound. It holds s.mu.
func (s *session) noteExecuting(bind, name []byte) {
	if c := s.statements.byName[string(name)]; !s.routeSmall || c == nil || c.insert == nil || !c.insert.executes {
		return
	}
	if s.executing == nil {
		s.executing = make(map[string]struct{})
	}
	portal, _, _ := frame.CString(bind)
	s.executing[string(portal)] = struct{}{}
}

// ranExecuting notes that a portal was run. It holds s.mu.
func (s *session) ranExecuting(execute []byte) {
	if len(s.executing) > 0 {
		portal, _, _ := frame.CString(execute)
		delete(s.executing, string(portal))
	}
}

// notePrepares notes a Query by which SQL may prepare an INSERT that a Bind can name.
// Of one that is relayed before it is whole nobody knows. It holds s.mu.
func (s *session) notePrepares(f clientFrame) {
	if s.routeSmall && !s.statements.forgot {
		s.statements.forgot = f.whole() && rewrite.Prepares(f.body()) || !f.whole() && f.size > maxUndecided
	}
}

// routedBind says whether a Bind of a statement may insert into a routed table. It
// holds s.mu.
func (s *session) routedBind(name []byte) bool {
	if !s.routeSmall {
		return false
	}
	p := &s.statements
	c := p.byName[string(name)]
	if c == nil && !p.forgot && !(p.lostInsert && len(name) == 0) || c != nil && c.insert == nil && !c.unsure {
		return false
	}
	set := s.judge()
	if c == nil || c.insert == nil || c.unsure && len(name) > 0 {
		return !set.None() // the server knows the text
	}
	st := c.insert
	if v := set.Version() + 1; st.routedBy != v {
		st.routed, st.routedBy = set.Insert(st.sql), v
	}
	return st.routed
}

// wrapsInsert says whether a text that begins with another word may insert, and is
// judged when it is bound: what EXECUTE runs may have been prepared since.
func (s *session) wrapsInsert(sql []byte, whole bool) bool {
	return s.routeSmall && (rewrite.WrapsInsert(sql, whole) || rewrite.Executes(sql, false))
}

// routedLater looks for an INSERT into a routed table inside or behind the first
// statement of a Query, which begins with something else. It holds s.mu.
func (s *session) routedLater(f clientFrame) (act action, relay bool) {
	if !s.routeSmall {
		return actFill, true
	}
	text := trimZero(f.body())
	wraps := rewrite.WrapsInsert(text, f.whole())
	semicolon := bytes.IndexByte(text, ';')
	several := semicolon >= 0 && semicolon < len(text)-1
	if f.whole() && !wraps && !several && !rewrite.Executes(text, false) {
		return actFill, true
	}
	switch set := s.judge(); {
	case set.None():
	case f.size > s.srv.cfg.InsertMaxBytes: // no more than any INSERT of that length
	case !f.whole():
		return actFill, false
	case rewrite.Executes(text, several):
		return actRouted, false
	case set.Mentions(text) && (wraps || rewrite.HasLaterInsert(string(text))):
		return actRouted, false
	}
	return actFill, true
}

// Settled says whether nothing is under way any more that sessions have judged by
// other names than those that known has now.
func (srv *Server) Settled(known *rewrite.Known) bool {
	srv.mu.Lock()
	var sessions []*session
	for _, s := range srv.sessions {
		if s.known == known {
			sessions = append(sessions, s)
		}
	}
	srv.mu.Unlock()
	now := known.Published() + 1
	for _, s := range sessions {
		if !s.settledSince(now) {
			return false
		}
	}
	return true
}

func (s *session) settledSince(judged uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.judged != judged && s.settled() {
		s.judged = 0
	}
	return s.judged == 0 || s.judged == judged
}
