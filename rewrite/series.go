package rewrite

import (
	"slices"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// Series is how a text of several statements goes to the server so that its INSERTs
// into tables that may be routed go one by one. The server runs the statements of a
// Query in an implicit transaction from the begin, or from behind a COMMIT, to the
// end; a BEGIN among them makes a block of what was before it, too. So an INSERT may
// be taken out of a block as it is. Out of an implicit transaction it may where that
// lasts to the text's end: a block of ours stands for it, in which all goes on as in
// it, but for statements about transactions.
type Series struct {
	Pieces []Piece
	// Ours is the first piece inside of our block, len(Pieces) where there is none.
	Ours int
	// Settled: what the INSERTs' names mean can be asked before the first statement.
	Settled bool
	// Inserts: all pieces are INSERTs.
	Inserts bool
}

// Piece is one INSERT, or statements that go to the server together.
type Piece struct {
	Start, End int
	Insert     bool
}

// Series cuts the text; nil where it can't go like that. inBlock says that the client
// is in a transaction block, routed which tables may be routed.
func (a *AnyText) Series(inBlock bool, routed func(table string) bool) *Series {
	if len(a.statements) < 2 || a.Runs {
		return nil
	}
	ours, ok := oursFrom(a.statements, inBlock, routed)
	if !ok {
		return nil
	}
	out := &Series{Inserts: true, Settled: true}
	moved := false
	for i, s := range a.statements {
		insert := seriesInsert(s, routed)
		if i == ours {
			out.Ours = len(out.Pieces)
		}
		switch last := len(out.Pieces) - 1; {
		case insert || last < 0 || out.Pieces[last].Insert || i == ours:
			out.Pieces = append(out.Pieces, Piece{s.Start, s.End, insert})
		default:
			out.Pieces[last].End = s.End
		}
		out.Inserts = out.Inserts && insert
		out.Settled = out.Settled && !(insert && moved)
		moved = moved || !s.Plain && s.Transaction == pgquery.TransactionNone
	}
	if ours == len(a.statements) {
		out.Ours = len(out.Pieces)
	}
	return out
}

// BeginsLate says that a BEGIN makes a block of statements before it. Greenplum 6 fails
// there where the text ends with it.
func (a *AnyText) BeginsLate(inBlock bool) bool {
	before := false
	for _, s := range a.statements {
		switch s.Transaction {
		case pgquery.TransactionBegin:
			if !inBlock && before {
				return true
			}
			inBlock = true
		case pgquery.TransactionEnd:
			inBlock, before = false, false
		default:
			before = true
		}
	}
	return false
}

// oursFrom returns the first statement of our block.
func oursFrom(statements []pgquery.AnyStatement, block bool, routed func(string) bool) (from int, ok bool) {
	started := block
	inserts, saves, any := false, false, false // of the implicit transaction; any: of the text
	for i, s := range statements {
		insert := seriesInsert(s, routed)
		any = any || insert
		inner := slices.ContainsFunc(s.Inner, func(t pgquery.Target) bool { return routed(t.Table) })
		if s.Copies || inner {
			return 0, false
		}
		if block {
			if s.Transaction == pgquery.TransactionEnd {
				block, inserts, saves, from = false, false, false, i+1
			}
			continue
		}
		inserts = inserts || insert
		switch s.Transaction {
		case pgquery.TransactionBegin:
			block = true
		case pgquery.TransactionEnd:
			from = i + 1
		case pgquery.TransactionSavepoint, pgquery.TransactionChain:
			saves = true
		}
		if inserts && (saves || s.Transaction != pgquery.TransactionNone) {
			return 0, false
		}
		if s.Transaction == pgquery.TransactionEnd {
			saves = false
		}
	}
	switch {
	case !any:
		return 0, false
	case block || !inserts:
		return len(statements), true
	}
	// Alone at the begin, it would not be one of several.
	return from, from != 1 || statements[0].Transaction != pgquery.TransactionEnd || started
}

func seriesInsert(s pgquery.AnyStatement, routed func(string) bool) bool {
	return s.Insert != nil && routed(s.Insert.Table)
}
