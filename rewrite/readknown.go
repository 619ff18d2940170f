package rewrite

// InsertReads says whether a text that begins with INSERT or WITH may read a routed
// table. Of an INSERT into one it says no.
func (s *KnownSet) InsertReads(sql []byte) bool {
	if s.None() {
		return false
	}
	c := headCursor{sql: sql}
	if name, ok := c.insertInto(); ok && (s.Has(name) || !containsFold(sql, "from")) {
		return false
	}
	return s.Reads(sql)
}

// Reads says whether a text may read or change a routed table: whether one of
// the names stands anywhere in it.
func (s *KnownSet) Reads(sql []byte) bool {
	return !s.None() && s.named(sql)
}
