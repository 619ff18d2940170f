package wire

import (
	"bytes"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// judge returns the names by which a statement that may insert is judged, and
// notes that it was. It holds s.mu.
func (s *session) judge() *rewrite.KnownSet {
	if s.known == nil {
		return nil
	}
	set := s.known.Set()
	if s.judged == 0 || s.atRest() {
		s.judged = set.Version() + 1
	}
	return set
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
	if s.judged != judged && s.atRest() {
		s.judged = 0
	}
	return s.judged == 0 || s.judged == judged
}
