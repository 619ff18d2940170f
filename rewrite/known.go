package rewrite

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// Known is what a proxy knows of which tables of a database may be routed: the
// names of the routing tables without what is behind the table's own name.
// Schemas are no part of it, so it may name too much; it is never what decides
// where a row goes. Where it was not read, or is too old, every table may be
// routed. A nil Known has no routed table.
//
// One goroutine writes it, all sessions read it.
type Known struct{ set atomic.Pointer[KnownSet] }

// KnownSet is one reading of the names. It does not change.
type KnownSet struct {
	*knownNames
	until int64 // since knownBase
}

type knownNames struct {
	// version grows with each change; it is never 0.
	version uint64
	names   map[string]struct{}
	words   map[string]struct{} // those that are a word of any text, in lower case
	others  []string            // those that are not, likewise, as they stand between quotes
	odd     bool                // some of these may be written in other ways
}

// knownBase is what the age is counted from: to read one clock is cheaper than
// time.Now.
var knownBase = time.Now()

// Publish replaces the names. How long they may be believed stays as it was.
func (k *Known) Publish(names []string) {
	next := &KnownSet{knownNames: &knownNames{version: 1, names: make(map[string]struct{}, len(names)), words: make(map[string]struct{}, len(names))}, until: math.MinInt64}
	if old := k.set.Load(); old != nil {
		if old.equal(names) {
			return
		}
		next.version, next.until = old.version+1, old.until
	}
	for _, n := range names {
		next.names[n] = struct{}{}
		plain := isASCII(n) && !strings.Contains(n, `"`) && len(n) < maxRoutedName
		next.odd = next.odd || !plain
		if plain && !strings.ContainsFunc(n, func(r rune) bool { return wordBytes[r] == 0 }) {
			next.words[strings.ToLower(n)] = struct{}{}
		} else {
			next.others = append(next.others, strings.ToLower(strings.ReplaceAll(n, `"`, `""`)))
		}
	}
	k.set.Store(next)
}

func (s *KnownSet) equal(names []string) bool {
	return len(names) == len(s.names) && !slices.ContainsFunc(names, func(n string) bool { _, ok := s.names[n]; return !ok })
}

// Believe says until when the names that were published may be believed.
func (k *Known) Believe(until time.Time) {
	if old := k.set.Load(); old != nil {
		k.set.Store(&KnownSet{knownNames: old.knownNames, until: int64(until.Sub(knownBase))})
	}
}

// Set returns the names as they are now, nil where nobody knows them.
func (k *Known) Set() *KnownSet {
	set := k.set.Load()
	if set == nil || int64(time.Since(knownBase)) > set.until {
		return nil
	}
	return set
}

// Version tells one set of names from another. 0 is where nobody knows them.
func (s *KnownSet) Version() uint64 {
	if s == nil {
		return 0
	}
	return s.version
}

// Published is the version of the names that were published last, whether they may
// be believed by now or not.
func (k *Known) Published() uint64 {
	if set := k.set.Load(); set != nil {
		return set.version
	}
	return 0
}

// None says that no table is routed.
func (s *KnownSet) None() bool { return s != nil && len(s.names) == 0 }

// Has says whether a table of this name may be routed.
func (s *KnownSet) Has(name string) bool {
	if s == nil {
		return true
	}
	if len(s.names) > 0 && len(name) > maxRoutedName {
		return true
	}
	_, ok := s.names[name]
	return ok
}

// maxRoutedName is the longest name behind which the routing table's ending fits:
// longer ones are cut off, and so can't be told from it.
const maxRoutedName = 63 - len("_relyt_routing")

// Insert says whether a text that begins with INSERT or WITH may put rows into a
// routed table. Of a text that has not wholly come its begin may not be enough:
// then it says so of every table.
func (s *KnownSet) Insert(sql []byte) bool {
	if s.None() {
		return false
	}
	c := headCursor{sql: sql}
	if name, ok := c.insertInto(); ok {
		return s.Has(name) || s.later(sql)
	}
	return !c.word("with") && !c.wraps() || s.Mentions(sql) || c.word("explain") && containsFold(sql, "execute")
}

// later says whether a statement behind the first may put rows into a routed table.
func (s *KnownSet) later(sql []byte) bool {
	at := bytes.IndexByte(sql, ';')
	if at < 0 || !s.Mentions(sql[at+1:]) {
		return false
	}
	return slices.ContainsFunc(ParseAny(sql).Targets, func(t AnyTarget) bool { return s.Has(t.Table) })
}

// Mentions says whether a text may have an INSERT into a routed table anywhere.
func (s *KnownSet) Mentions(sql []byte) bool {
	return !s.None() && containsFold(sql, "insert") && s.named(sql)
}

// WrapsInsert says whether a text that begins with neither INSERT nor WITH may be one
// statement with an INSERT in it: PREPARE, EXPLAIN or MERGE. One that is not whole is
// judged by its begin.
func WrapsInsert(sql []byte, whole bool) bool {
	c := headCursor{sql: sql}
	for c.next(); c.is(';'); c.next() {
	}
	return c.wraps() && (!whole || containsFold(sql, "insert"))
}

// Executes says whether a text begins with EXECUTE; or may have it anywhere, if
// several.
func Executes(sql []byte, several bool) bool {
	c := headCursor{sql: sql}
	for c.next(); c.is(';'); c.next() {
	}
	return c.word("execute") || (several || c.word("explain")) && containsFold(sql, "execute")
}

// Prepares says whether a text, or one of its statements, seems to begin with
// PREPARE, and to insert.
func Prepares(sql []byte) bool {
	for rest := sql; ; {
		at, _ := skipBlank(rest)
		if end := at + len("prepare"); end < len(rest) && isWord(rest[at:end], "prepare") {
			return containsFold(sql, "insert")
		}
		next := bytes.IndexByte(rest, ';')
		if next < 0 {
			return false
		}
		rest = rest[next+1:]
	}
}

func (c *headCursor) wraps() bool { return c.word("prepare") || c.word("explain") || c.word("merge") }

// HasLaterInsert says whether a text has several statements, of which one behind
// the first inserts. One that can't be parsed has not: the server, too, parses
// all before it runs any.
func HasLaterInsert(sql string) bool {
	later, err := pgquery.LaterInsert(sql)
	return later && err == nil
}

// insertInto steps over INSERT INTO and the table's name, and returns the name. ok
// is false where it is not understood.
func (c *headCursor) insertInto() (name string, ok bool) {
	c.next()
	for c.is(';') || c.is('(') {
		c.next()
	}
	if !c.word("insert") {
		return "", false
	}
	if c.next(); !c.word("into") {
		return "", false
	}
	for {
		c.next()
		word := string(c.sql[c.start:c.end])
		if !isASCII(word) {
			return "", false // in another encoding, or folded
		}
		switch c.kind {
		case tokenWord:
			name = strings.ToLower(word)
		case tokenQuoted:
			name = strings.ReplaceAll(word[1:len(word)-1], `""`, `"`)
		default:
			return "", false
		}
		// Behind U&"…" nothing is sure, nor where the text ends.
		if c.next(); !c.is('.') {
			return name, c.kind != tokenOther && c.kind != tokenEnd
		}
	}
}

// Copies says whether a text with a COPY names a table that may be routed. Where
// nobody knows the names it says no: the text can't be asked about.
func (s *KnownSet) Copies(sql []byte) bool {
	if s == nil {
		return false
	}
	return s.hasWord(sql, "") || slices.ContainsFunc(s.others, func(n string) bool { return containsWord(sql, n) })
}

// named says whether one of the names may stand in a text.
func (s *KnownSet) named(sql []byte) bool {
	// Names may be written in escapes.
	if s == nil || s.odd || bytes.IndexByte(sql, '\\') >= 0 || s.hasWord(sql, "uescape") {
		return true
	}
	return slices.ContainsFunc(s.others, func(n string) bool { return containsFold(sql, n) })
}

// hasWord says whether one of words, or another one, stands in a text, in one pass.
func (s *knownNames) hasWord(sql []byte, another string) bool {
	var word [maxRoutedName]byte
	for i := 0; i < len(sql); i++ {
		n := 0
		for ; i < len(sql); i, n = i+1, n+1 {
			b := wordBytes[sql[i]]
			if b == 0 {
				break
			}
			if n < len(word) {
				word[n] = b
			}
		}
		if n == 0 || n > len(word) {
			continue
		}
		if _, ok := s.words[string(word[:n])]; ok || string(word[:n]) == another {
			return true
		}
	}
	return false
}

// wordBytes are the bytes of a word, in lower case; zero is what stands between.
var wordBytes = func() (table [256]byte) {
	for i := range table {
		if b := byte(i); isNameByte(b) {
			table[i] = lowerByte(b)
		}
	}
	return table
}()

// containsWord is containsFold of a whole word.
func containsWord(p []byte, lower string) bool {
	for i := 0; i+len(lower) <= len(p); i++ {
		end := i + len(lower)
		if (i == 0 || !isNameByte(p[i-1])) && (end == len(p) || !isNameByte(p[end])) && strings.EqualFold(string(p[i:end]), lower) {
			return true
		}
	}
	return false
}

func isNameByte(b byte) bool {
	return b >= 0x80 || b == '_' || b == '$' || b >= '0' && b <= '9' || lowerByte(b) >= 'a' && lowerByte(b) <= 'z'
}

// containsFold says whether a text has another one in it, which is in lower case
// and ASCII, in any case.
func containsFold(p []byte, lower string) bool {
	for i := 0; i+len(lower) <= len(p); i++ {
		j := 0
		for j < len(lower) && lowerByte(p[i+j]) == lower[j] {
			j++
		}
		if j == len(lower) {
			return true
		}
	}
	return false
}

func lowerByte(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		b |= 0x20
	}
	return b
}
