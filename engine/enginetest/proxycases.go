package enginetest

import (
	"cmp"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
)

// proxyCases are what clients send.
func proxyCases(c ProxyConfig) []proxyCase {
	types := "CREATE TABLE v (a int, n numeric, f float8, l bool, d date, z timestamptz, i interval, j json, x bytea, r int[], s text)" + c.distribute("v")
	values := "1\t1.50\t1e300\tt\t2024-02-29\t2024-01-01 00:00:00+00\t1 day\t{\"a\": 1}\t\\\\x00ff\t{1,NULL}\té\\t\\\\N\n" +
		"2" + strings.Repeat("\t\\N", 10) + "\n3" + strings.Repeat("\t\\N", 9) + "\tnull\n4" + strings.Repeat("\t\\N", 9) + "\t\n"
	large := step{"COPY t FROM STDIN", rowsOf(0, cmp.Or(c.Rows, 40_000))}
	two := in("COPY t FROM STDIN", "1\tone\n2\ttwo\n")
	return append(extensionCases(two), []proxyCase{
		{name: "connection", steps: []step{sql("SELECT 1"), sql("SHOW search_path_"), sql("SELECT current_user")}},
		{name: "types", steps: []step{sql(types), in("COPY v FROM STDIN", values), sql("SELECT * FROM v ORDER BY a")}},
		{name: "csv", steps: []step{
			in("COPY t FROM STDIN WITH CSV HEADER", "a,b\n1,\"x\ny\"\n2,\n3,\"\"\n4,null\n5,NULL\n"), sql("SELECT * FROM t ORDER BY a"),
		}},
		{name: "no rows", steps: []step{in("COPY t FROM STDIN", "")}},
		{name: "one row", steps: []step{in("COPY t FROM STDIN", "1\tx\n")}},
		{name: "many files", steps: []step{large}},
		{name: "a wide row", steps: []step{in("COPY t FROM STDIN", "1\t"+strings.Repeat("w", 12<<20)+"\n2\tx\n")}},
		{name: "bad value", steps: []step{in("COPY t FROM STDIN", "1\tx\nno\ty\n"), two}},
		{name: "duplicate key", steps: []step{two, two, sql("SELECT 1")}},
		{name: "missing table", steps: []step{in("COPY nosuch FROM STDIN", "1\n")}},
		{name: "rollback", needs: transactional, steps: []step{sql("BEGIN"), large, sql("ROLLBACK"), two}},
		{name: "commit", needs: transactional, steps: []step{sql("BEGIN"), two, sql("SELECT count(*) FROM t"), sql("COMMIT")}},
		{name: "savepoints", needs: transactional, steps: []step{
			sql("BEGIN"), two, sql("SAVEPOINT s"), in("COPY t FROM STDIN", "3\tx\n"), sql("ROLLBACK TO s"),
			in("COPY t FROM STDIN", "3\tx\nno\ty\n"), sql("ROLLBACK TO s"), in("COPY t FROM STDIN", "4\ty\n"), sql("COMMIT"),
		}},
		{name: "temporary table", needs: inSession, steps: []step{
			sql("CREATE TEMP TABLE own (a int, b text)"), in("COPY own FROM STDIN", "1\tx\n"), sql("SELECT * FROM own"),
		}},
		{name: "order", needs: func(c engine.Caps) bool { return c.Ordered }, steps: []step{
			sql("CREATE TABLE o (id serial, b text)"), in("COPY o (b) FROM STDIN", "x\ny\nz\n"), sql("SELECT * FROM o ORDER BY id"),
		}},
		{name: "inserts", steps: []step{
			sql("INSERT INTO t VALUES (1, 'x'), (2, NULL), (3, 'null'), (4, '')"), sql("INSERT INTO t VALUES (5, 'y'), (5, 'z')"),
		}},
		{name: "returning", needs: func(c engine.Caps) bool { return c.Returning }, steps: []step{
			sql("INSERT INTO t VALUES (1, 'x'), (2, NULL) RETURNING a, b"),
		}},
		{name: "on conflict", needs: onConflict, steps: []step{
			two, sql("INSERT INTO t VALUES (2, 'zwei'), (3, 'drei') ON CONFLICT (a) DO UPDATE SET b = excluded.b"),
		}},
	}...)
}

// extensionCases are what PostgreSQL has no words for; beside them stands what it
// has.
func extensionCases(two step) []proxyCase {
	return []proxyCase{
		{name: "reject limit", steps: []step{
			sql("SET pgbulk.max_error_records = '5'"), in("COPY t FROM STDIN", "1\tone\nno\tx\n2\ttwo\n2\tagain\n"),
		}, twin: []step{two}},
		{name: "overwrite", steps: []step{
			in("COPY t FROM STDIN", "7\told\n"), in("COPY t FROM STDIN (MODE overwrite)", "1\tone\n2\ttwo\n"),
		}, twin: []step{two}},
		{name: "upsert", steps: []step{
			in("COPY t FROM STDIN", "2\told\n"), in("COPY t FROM STDIN (MODE upsert)", "1\tone\n2\ttwo\n"),
		}, twin: []step{two}},
		{name: "nothing", steps: []step{
			in("COPY t FROM STDIN", "2\ttwo\n"), in("COPY t FROM STDIN (ON_CONFLICT nothing)", "1\tone\n2\tnew\n"),
		}, twin: []step{two}},
		{name: "last wins", steps: []step{
			in("COPY t FROM STDIN", "2\told\n3\tthree\n"), in("COPY t FROM STDIN (MODE upsert, LAST_WINS)", "2\tx\n1\tone\n2\ttwo\n"),
		}, twin: []step{in("COPY t FROM STDIN", "1\tone\n2\ttwo\n3\tthree\n")}},
		{name: "merge", steps: []step{
			in("COPY t FROM STDIN", "2\told\n3\tthree\n"),
			in("COPY t (a, op, b) FROM STDIN (MODE merge, OPERATION_COLUMN op)", "2\tU\ttwo\n1\tI\tone\n3\tD\t\\N\n"),
		}, twin: []step{two}},
	}
}

func transactional(c engine.Caps) bool { return c.Transactional }
func inSession(c engine.Caps) bool     { return c.InSession }
func onConflict(c engine.Caps) bool    { return c.OnConflict }
