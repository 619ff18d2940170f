package pgtest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// firstUserOID is where PostgreSQL starts to number objects of users.
const firstUserOID = 16384

// normalizer replaces what cannot be equal in two databases. One is used per
// side and case, so numbers are given in the order of appearance.
type normalizer struct {
	database    string
	suffix      string // of names, left out
	waived      string // field codes of errors and notices left out
	distributed bool
	volatile    []*regexp.Regexp
	oids        map[uint32]string
	pids        map[uint32]string
}

func newNormalizer(database string, options *optionSet) *normalizer {
	return &normalizer{
		database: database,
		waived:   options.waive,
		volatile: options.volatile,
		oids:     map[uint32]string{},
		pids:     map[uint32]string{},
	}
}

func (n *normalizer) oid(oid uint32) string {
	if oid < firstUserOID {
		return strconv.FormatUint(uint64(oid), 10)
	}
	if _, known := n.oids[oid]; !known {
		n.oids[oid] = "oid" + strconv.Itoa(len(n.oids)+1)
	}
	return n.oids[oid]
}

func (n *normalizer) pid(pid uint32) string {
	if name, known := n.pids[pid]; known {
		return name
	}
	return "unknown"
}

// firstKey is which of several keys that are there already was found first, which
// depends on the nodes.
var firstKey = regexp.MustCompile(`Key \([^"]*\)=\([^"]*\) already exists`)

// node is how Greenplum's errors name a segment; shard and worker are what Citus' say:
// shards are numbered over all tables that a database has ever had.
var (
	node   = regexp.MustCompile(`\s*\((seg\d+|entry db)[^()]*pid=\d+\)`)
	shard  = regexp.MustCompile(`_10\d{4}\b`)
	worker = regexp.MustCompile(`(while executing command on|the remote node) \S+:\d+`)
)

// savepoints: the server looks at another place in its source where a savepoint of
// the proxy's has stayed (bulk.Stay).
var savepoints = regexp.MustCompile(`F="xact.c" L="\d+"`)

func (n *normalizer) text(line string) string {
	if n.distributed {
		line = node.ReplaceAllString(line, "")
		line = firstKey.ReplaceAllString(line, "Key ~ already exists")
		line = shard.ReplaceAllString(line, "_~")
		line = worker.ReplaceAllString(line, "$1 ~")
		line = savepoints.ReplaceAllString(line, `F="xact.c"`)
	}
	line = strings.ReplaceAll(line, n.database, "${db}")
	if n.suffix != "" {
		line = strings.ReplaceAll(line, n.suffix, "")
	}
	for _, expression := range n.volatile {
		line = expression.ReplaceAllString(line, "~")
	}
	return line
}

// aboutNodes marks what Citus warns of its own connections to other nodes: how far
// each had got when a statement ended depends on chance.
const aboutNodes = `F="remote_commands.c"`

// comparableNodes leaves out of a transcript of a distributed server what differs from one run
// to the next: warnings about nodes, and the order of rows that follow each other.
func comparableNodes(lines []string) []string {
	lines = slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return strings.Contains(line, ": NoticeResponse ") && strings.Contains(line, aboutNodes)
	})
	isRow := func(line string) bool { return strings.Contains(line, "DataRow") }
	for from := 0; from < len(lines); from++ {
		to := from
		for to < len(lines) && isRow(lines[to]) {
			to++
		}
		slices.Sort(lines[from:to])
		from = max(from, to-1)
	}
	return lines
}
