package killmatrix

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// found is what the tables hold of one load.
type found struct {
	rows, distinct, low, high int64
	whole                     bool
	txs                       string // the transactions that it came by
}

const foundSQL = `SELECT load, count(*), count(DISTINCT n), min(n), max(n), bool_and(pad = n || '` + pad + `'), array_agg(DISTINCT tx)
	FROM (SELECT load, n, pad, %[1]s AS tx FROM t UNION ALL SELECT load, n, pad, %[1]s FROM u) x GROUP BY load`

func (b *bed) found() (map[int64]found, error) {
	rows, err := b.sql(fmt.Sprintf(foundSQL, cmp.Or(b.kind.tx, "0")))
	if err != nil {
		return nil, err
	}
	all := make(map[int64]found)
	for _, r := range rows {
		var n [5]int64
		for i := range n {
			n[i], _ = strconv.ParseInt(string(r[i]), 10, 64)
		}
		all[n[0]] = found{rows: n[1], distinct: n[2], low: n[3], high: n[4], whole: string(r[5]) == "t", txs: string(r[6])}
	}
	return all, nil
}

// check compares what the clients know with tables, ledger and store.
func (b *bed) check(units []*unit) string {
	if b.kind.finish != "" {
		if _, err := b.sql(b.kind.finish); err != nil {
			return err.Error()
		}
	}
	all, err := b.found()
	if err != nil {
		return err.Error()
	}
	problems := slices.Concat(checkRows(units, all), b.checkLedger(all), b.checkServer(), b.checkStore())
	return strings.Join(problems, "\n")
}

// checkRows: what was acknowledged is there exactly once, what was undone is
// not, and what the client doesn't know is there as a whole or not at all.
func checkRows(units []*unit, all map[int64]found) (problems []string) {
	mine := make(map[int64]bool)
	for _, u := range units {
		there, absent, bad := 0, 0, ""
		for _, l := range u.loads {
			mine[l.id] = true
			f, ok := all[l.id]
			switch {
			case ok && l.undone:
				bad = fmt.Sprintf("load %d was undone, and has %d rows", l.id, f.rows)
			case l.undone:
			case !ok:
				absent++
			case f.rows != int64(l.rows) || f.distinct != f.rows || f.low != 0 || f.high != f.rows-1 || !f.whole || strings.Contains(f.txs, ","):
				bad = fmt.Sprintf("load %d of %d rows: %+v", l.id, l.rows, f)
			default:
				there++
			}
		}
		switch {
		case bad != "":
		case u.fate == committed && absent > 0:
			bad = fmt.Sprintf("%d acknowledged loads are lost", absent)
		case u.fate == aborted && there > 0:
			bad = fmt.Sprintf("%d loads are there that were never committed", there)
		case u.fate == unknown && there > 0 && absent > 0:
			bad = "one part is there, the other is not"
		}
		if bad != "" {
			problems = append(problems, fmt.Sprintf("%s (%s, %s):\n\t%s", bad, u.what, u.fate, strings.Join(u.log, "\n\t")))
		}
	}
	for id, f := range all {
		if !mine[id] {
			problems = append(problems, fmt.Sprintf("load %d of an earlier round has come: %+v", id, f))
		}
	}
	return problems
}

// entry is one load in the ledger.
type entry struct {
	id, status, owner, txs, message string
	total, imported                 int
	records, frozen                 int64 // rows in the table, rows that were durable
}

const ledgerSQL = `SELECT process_id, coalesce(c.status, 'MISSING'), coalesce(l.owner, ''), coalesce(i.txs, ''), coalesce(c.error_message, ''),
	       coalesce(c.files_total, 0), coalesce(c.files_imported, 0), coalesce(i.records, 0),
	       coalesce((SELECT sum(records) FROM pgbulk.load_file f WHERE f.process_id = l.process_id AND f.frozen), 0)
	  FROM pgbulk.load l FULL JOIN (SELECT process_id, array_agg(DISTINCT txid)::text AS txs, sum(records) AS records
	                                  FROM pgbulk.import GROUP BY 1) i USING (process_id)
	  LEFT JOIN relyt_sys.relyt_loader_checkpoint c USING (process_id)`

func (b *bed) ledger() ([]entry, error) {
	rows, err := b.sql(ledgerSQL)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, r := range rows {
		e := entry{id: string(r[0]), status: string(r[1]), owner: string(r[2]), txs: string(r[3]), message: string(r[4])}
		e.total, _ = strconv.Atoi(string(r[5]))
		e.imported, _ = strconv.Atoi(string(r[6]))
		e.records, _ = strconv.ParseInt(string(r[7]), 10, 64)
		e.frozen, _ = strconv.ParseInt(string(r[8]), 10, 64)
		all = append(all, e)
	}
	return all, nil
}

// checkLedger: a load is COMPLETED exactly where its rows are there, and none
// is RUNNING. There are loads that are not in the ledger: while the store or the
// service connection rest after failures, statements pass.
func (b *bed) checkLedger(all map[int64]found) (problems []string) {
	if !b.kind.ledger {
		return nil
	}
	entries, err := b.ledger()
	if err != nil {
		return []string{err.Error()}
	}
	if rows, err := b.sql("SELECT process_id FROM pgbulk.staged WHERE NOT done"); err != nil || len(rows) > 0 {
		problems = append(problems, fmt.Sprintf("%d staged loads wait, %v", len(rows), err))
	}
	free := make(map[int64]string) // the transactions of loads, by their rows
	for _, f := range all {
		free[f.rows] = f.txs
	}
	var others []entry
	for _, e := range entries {
		switch {
		case b.counted[e.id]:
		case e.imported > 0 && free[e.records] == e.txs && e.status == "COMPLETED" && e.imported == e.total:
			delete(free, e.records)
		default:
			others = append(others, e)
		}
	}
	for _, e := range others {
		switch {
		case e.frozen > 0 && e.frozen%2 == 0 && free[e.frozen] != "":
			// Of a COPY: where the load of an INSERT fails, the statement itself runs.
			problems = append(problems, fmt.Sprintf("ledger: the rows are there of %+v", e))
		case e.imported == 0 && (e.status == "FAILED" && e.message != "" || e.status == "CANCELLED"):
		default:
			problems = append(problems, fmt.Sprintf("ledger: %+v", e))
		}
	}
	return problems
}

// checkServer: nothing is left in the catalogs, and no session of the clients, all of
// whom have hung up.
func (b *bed) checkServer() (problems []string) {
	rows, err := b.sql(b.kind.left)
	if err != nil {
		return []string{err.Error()}
	}
	if n := string(rows[0][0]); n != "0" {
		problems = append(problems, n+" external tables or the like are left")
	}
	rows, err = b.sql("SELECT query FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND client_port IS NOT NULL AND application_name !~ '^(" + program + "|pgbulkproxy|citus_internal.*)$'")
	if err != nil {
		return append(problems, err.Error())
	}
	for _, r := range rows {
		problems = append(problems, "a session is left: "+string(r[0]))
	}
	return problems
}

// checkStore: nothing is left in S3. Where there is no ledger, nobody knows what a
// proxy that was killed has left.
func (b *bed) checkStore() (problems []string) {
	if b.killed && !b.kind.ledger {
		return nil
	}
	for info, err := range b.store.List(b.t.Context(), b.prefix) {
		if err != nil {
			return append(problems, err.Error())
		}
		problems = append(problems, "left in S3: "+info.Key)
	}
	uploads, err := b.s3.ListMultipartUploads(b.t.Context(), &s3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: &b.prefix})
	if err != nil {
		return append(problems, err.Error())
	}
	for _, u := range uploads.Uploads {
		problems = append(problems, "an upload has no end: "+*u.Key)
	}
	return problems
}

// settle makes the bed ready for the next round: what this one brought is
// accounted for.
func (b *bed) settle() {
	b.t.Helper()
	b.must("SET lock_timeout = '10s'; TRUNCATE t, u")
	if b.kind.ledger {
		entries, err := b.ledger()
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range entries {
			b.counted[e.id] = true
		}
		return
	}
	for info, err := range b.store.List(b.t.Context(), b.prefix) {
		if err == nil {
			err = b.store.Delete(b.t.Context(), info.Key)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	b.killed = false
}
