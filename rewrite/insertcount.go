package rewrite

import "github.com/pgbulkproxy/pgbulkproxy/rewrite/values"

// InsertHead returns the length of what stands before the rows, or 0.
func InsertHead(sql []byte) int {
	h, reason := scanInsertHead(sql)
	if reason != ReasonNone {
		return 0
	}
	return h.list
}

// ManyRows says whether a statement is an INSERT … VALUES that begins with at
// least n rows of constants, by its first bytes and without allocation. It
// never looks behind the nth row. decided is false where head ends too early to
// tell; complete says that head is the whole statement.
func ManyRows(head []byte, complete bool, n int, opts values.Options) (many, decided bool) {
	h, reason := scanInsertHead(head)
	if reason != ReasonNone {
		return false, complete || !h.open
	}
	l := values.New(head, h.list, opts)
	for range n {
		if err := l.Skip(); err != nil {
			return false, complete || !l.SawEnd()
		}
	}
	return true, true
}
