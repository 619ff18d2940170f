package proxy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// auxSuffix is that of the auxiliary tables, and here of all that belongs to them.
const auxSuffix = "_relyt_massive_group"

// makePairs makes a pair of every table of the database that has the routing column
// %[1]s, and for which a pair can keep what the table promises: no partitions, no
// children, no rows that others point to, no key without the column, no rules, no
// row security. Every other group goes to the auxiliary table: even numbers, and
// texts by their hash; what the setup has put into the table, too.
const makePairs = `SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS relyt_sys;
DO $do$
DECLARE t record; x record; aux text; suffix text := '_relyt_massive_group'; cols text; routes text;
BEGIN
	FOR x IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = 'relyt_sys'::regnamespace AND relname ~ '_relyt_routing$' LOOP
		EXECUTE format('DROP TABLE %%s', x.name);
	END LOOP;
	FOR t IN SELECT c.oid, c.relname, n.nspname, c.relacl, c.relowner::regrole AS owner, a.attname AS col FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema|pgbulk|relyt_sys)' AND a.attname = '%[1]s' AND a.attnum > 0 AND a.attgenerated = '' AND length(c.relname) < 40
		AND a.atttypid IN (20, 21, 23, 25, 1042, 1043) AND NOT c.relrowsecurity AND NOT c.relhasrules AND NOT c.relhassubclass AND NOT c.relispartition
		AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
		AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.confrelid = c.oid OR f.contype = 'x' AND f.conrelid = c.oid)
		AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND NOT a.attnum = ANY (i.indkey))
		AND NOT EXISTS (SELECT FROM pg_class o WHERE o.relname = c.relname AND o.oid <> c.oid AND o.relkind = 'r')
	LOOP
		aux := format('%%I.%%I', t.nspname, t.relname || suffix);
		EXECUTE format('CREATE TABLE %%s (LIKE %%s INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)', aux, t.oid::regclass);
		FOR x IN SELECT attname, pg_get_serial_sequence(t.oid::regclass::text, attname) AS seq FROM pg_attribute WHERE attrelid = t.oid AND attidentity <> '' LOOP
			EXECUTE format('ALTER TABLE %%s ALTER %%I SET DEFAULT nextval(%%L)', aux, x.attname, x.seq);
			EXECUTE format('GRANT USAGE ON SEQUENCE %%s TO PUBLIC', x.seq);
		END LOOP;
		FOR x IN SELECT conname, pg_get_constraintdef(oid) AS def FROM pg_constraint WHERE conrelid = t.oid AND contype IN ('p', 'u', 'f') ORDER BY contype DESC LOOP
			EXECUTE format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', aux, x.conname || suffix, x.def);
		END LOOP;
		FOR x IN SELECT c.relname, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', ' USING ') AS def, i.indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			WHERE i.indrelid = t.oid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) LOOP
			EXECUTE format('CREATE %%s INDEX %%I ON %%s %%s', CASE WHEN x.indisunique THEN 'UNIQUE' END, x.relname || suffix, aux, x.def);
		END LOOP;
		FOR x IN SELECT (aclexplode(t.relacl)).*, NULL::name AS attname UNION ALL SELECT (aclexplode(attacl)).*, attname FROM pg_attribute WHERE attrelid = t.oid AND attacl IS NOT NULL LOOP
			EXECUTE format('GRANT %%s %%s ON %%s TO %%s', x.privilege_type, '(' || quote_ident(x.attname) || ')', aux, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END);
		END LOOP;
		routes := format('relyt_sys.%%I', t.relname || '_relyt_routing');
		EXECUTE format('CREATE TABLE %%s (routing_id text PRIMARY KEY, store_table_name text NOT NULL)', routes);
		EXECUTE format('GRANT SELECT ON %%s TO PUBLIC; GRANT USAGE ON SCHEMA relyt_sys TO PUBLIC', routes);
		EXECUTE format($$INSERT INTO %%s SELECT g::text, %%L FROM generate_series(-200, 600) g WHERE g %%%% 2 = 0 UNION ALL
			SELECT w, %%L FROM unnest('{a,b,c,d,x,y,one,two,l,toolong,é,it''s}'::text[]) w WHERE hashtext(w) %%%% 2 = 0$$, routes, t.relname || suffix, t.relname || suffix);
		SELECT string_agg(quote_ident(attname), ', ') INTO cols FROM pg_attribute WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
		EXECUTE format('WITH gone AS (DELETE FROM %%s m WHERE EXISTS (SELECT FROM %%s r WHERE r.routing_id = m.%%I::text) RETURNING *) INSERT INTO %%s (%%s) SELECT %%s FROM gone',
			t.oid::regclass, routes, t.col, aux, cols, cols);
	END LOOP;
END $do$`

// outOfPlace lists rows that are not in the table that their routes say.
const outOfPlace = `DO $do$
DECLARE t record; n int;
BEGIN
	FOR t IN SELECT c.oid, a.oid AS aux, r.oid::regclass AS routes FROM pg_class c JOIN pg_class a ON a.relname = c.relname || '_relyt_massive_group' AND a.relnamespace = c.relnamespace
		JOIN pg_class r ON r.relname = c.relname || '_relyt_routing' LOOP
		EXECUTE format('SELECT (SELECT count(*) FROM %%s m WHERE EXISTS (SELECT FROM %%s r WHERE r.routing_id = m.%[1]s::text)) + (SELECT count(*) FROM %%s m WHERE NOT EXISTS (SELECT FROM %%s r WHERE r.routing_id = m.%[1]s::text))',
			t.oid::regclass, t.routes, t.aux::regclass, t.routes) INTO n;
		IF n > 0 THEN RAISE EXCEPTION '%% rows of %% are in the wrong table', n, t.oid::regclass; END IF;
	END LOOP;
END $do$`

// differRouted runs scripts of INSERTs against pairs that are routed by a column.
func differRouted(t *testing.T, column string, files []string, skip map[string]string, change func(*config.Config)) {
	t.Helper()
	differRoutedOn(t, testenv.Postgres(t), makePairs, column, files, skip, change, func(*pgtest.Options) {})
}

// differRoutedOn is differRouted on a server, with other options.
func differRoutedOn(t *testing.T, pg *testenv.PG, pairs, column string, files []string, skip map[string]string, change func(*config.Config), adapt func(*pgtest.Options)) {
	t.Helper()
	r := start(t, pg, Options{}, func(c *config.Config) {
		c.Routing.Column, c.Lease.Timeout = column, time.Second
		if change != nil {
			change(c)
		}
	})
	direct := pgtest.Target{
		Name:        "direct",
		DSN:         func(db string) string { return pg.TCPDSN(db, "postgres") },
		NewDatabase: pg.NewDatabase,
	}
	proxied := pgtest.Target{Name: "proxied", DSN: func(db string) string { return r.dsn(pg, db, "postgres") }}
	o := pgtest.Options{
		Skip: func(_ string, c *pgtest.Case) string { return skip[c.Name] },
		Prepare: func(t testing.TB, db string) {
			install(t, pg, db)
		},
		Pairs: &pgtest.Pairs{Suffix: auxSuffix, Make: func(ctx context.Context, conn *pgx.Conn) error {
			if _, err := conn.PgConn().Exec(ctx, fmt.Sprintf(pairs, column)).ReadAll(); err != nil {
				return err
			}
			rows, err := conn.Query(ctx, "SELECT replace(relname, '_relyt_routing', '') FROM pg_class WHERE relnamespace = 'relyt_sys'::regnamespace AND relname ~ '_relyt_routing$'")
			if err != nil {
				return err
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			for _, name := range names {
				err = errors.Join(err, awaitSeen(ctx, conn, name))
			}
			return err
		}},
		AfterCase: func(t testing.TB, _, db string, _ *pgtest.Case) {
			conn := pg.Connect(t, db, "postgres")
			if _, err := conn.PgConn().Exec(t.Context(), fmt.Sprintf(outOfPlace, column)).ReadAll(); err != nil {
				t.Error(err)
			}
			_ = conn.Close(t.Context())
		},
	}
	adapt(&o)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			pgtest.Diff(t, filepath.Join(scripts, name+".txt"), direct, proxied, o)
		})
	}
}

// simpleScripts are those of INSERTs by the simple protocol.
var simpleScripts = []string{
	"routed/inserts", "routed/several", "routed/texts", "insert/conflict", "insert/encodings", "insert/literals", "insert/names", "insert/roles", "insert/selfreference",
	"insert/sessions", "insert/simple", "insert/sqlalchemy", "insert/tables", "insert/coalesce",
}

// routedSkips are the cases that differ, with the reason.
var routedSkips = map[string]string{
	"lock timeout while a key is held":         placeOfRow,
	"statement timeout while a key is held":    placeOfRow,
	"cancel while waiting for a key":           placeOfRow,
	"deadlock":                                 placeOfRow,
	"views and foreign tables":                 unseenInserts,
	"functions of the owner":                   unseenInserts,
	"prepared statements of SQL":               unseenInserts,
	"table changes between by the same client": alteredAlone,
	"table changes between by another client":  alteredAlone,
	"another client renames the schema":        alteredAlone,
	"cursors":                                  readsMain,
	"queries in one write":                     readsMain,
	"multi statement queries":                  "docs/routing.md: COMMIT and ROLLBACK of an implicit transaction are refused",
	"role set by RETURNING":                    "docs/routing.md: the temporary table belongs to the role before",
}

const (
	placeOfRow    = "docs/guarantees.md: the place of the row in the table, in the CONTEXT, counts the tries and the table's own rows"
	unseenInserts = "docs/routing.md: INSERTs of functions and of EXECUTE, and those into views, are not seen"
	alteredAlone  = "docs/routing.md: both tables have to be altered"
	readsMain     = "what is read is the main table alone"
)

// TestRoutedInserts: INSERTs into pairs of tables are as INSERTs into one.
func TestRoutedInserts(t *testing.T) {
	t.Parallel()
	for column, files := range map[string][]string{"a": simpleScripts, "b": {"insert/simple", "insert/literals", "insert/tables"}} {
		t.Run(column, func(t *testing.T) { differRouted(t, column, files, routedSkips, nil) })
	}
}

// TestRoutedInsertsPlain: so they are without anything in the database.
func TestRoutedInsertsPlain(t *testing.T) {
	t.Parallel()
	differRouted(t, "a", []string{"routed/inserts", "routed/several", "routed/texts"}, routedSkips, func(c *config.Config) { c.Engine, c.Insert.StageBytes = "plain", 0 })
}

// pairOf makes a pair whose routing columns have different names, and whose other
// columns stand in another order. Groups g2 and g4 are the auxiliary table's.
const pairOf = `CREATE TABLE "T t" ("Group" text, id serial, "routing_id" text, v text, CONSTRAINT "one key" UNIQUE (routing_id, id));
	CREATE TABLE "T t_relyt_massive_group" (id int DEFAULT nextval('"T t_id_seq"') NOT NULL, v text, group_id text, "Group" text, CONSTRAINT other UNIQUE (group_id, id));
	CREATE TABLE relyt_sys."T t_relyt_routing" (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
	INSERT INTO relyt_sys."T t_relyt_routing" VALUES ('g2', 'T t_relyt_massive_group'), ('g4', 'public."T t_relyt_massive_group"'), ('g1', 'T t');`

// TestRoutedInsertNames: the auxiliary table's columns have names and places of
// their own.
func TestRoutedInsertNames(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), pairOf)
	c := b.proxied()
	for _, test := range []struct{ sql, code, want string }{
		{`INSERT INTO "T t" (routing_id, v) VALUES ('g1', 'a'), ('g2', 'b'), ('g3', 'c'), ('g4', 'd') RETURNING id, routing_id, v`, "", "1 g1 a,2 g2 b,3 g3 c,4 g4 d"},
		{`INSERT INTO "T t" AS x (routing_id, id, v) VALUES ('g1', 1, 'A'), ('g2', 2, 'B') ON CONFLICT (routing_id, id) DO UPDATE SET v = excluded.v || x.routing_id RETURNING x.routing_id AS routing_id, v`, "", "g1 Ag1,g2 Bg2"},
		{`INSERT INTO "T t" (routing_id, id, v) VALUES ('g2', 2, 'B'), ('g2', 7, 'B') ON CONFLICT ON CONSTRAINT "one key" DO NOTHING RETURNING id`, "", "7"},
		{`INSERT INTO "T t" VALUES (NULL, 8, 'g2', 'x'), (NULL, 9, NULL, 'y')`, "", ""},
		{`INSERT INTO "T t" SELECT 'G', 10 + g, 'g' || g, 'z' FROM generate_series(1, 4) g`, "", ""},
		{`INSERT INTO "T t" (routing_id, v) VALUES ('g2', 'a'), ('g2', 'b') RETURNING *`, "0A000", ""},
		{`INSERT INTO "T t" (routing_id, v) VALUES ('g1', 'a'), ('g3', 'b') RETURNING *`, "", "~ 5 g1 a,~ 6 g3 b"},
		{`INSERT INTO "T t" (routing_id, id) VALUES ('g1', 1), ('g2', 2)`, "23505", ""},
		{`INSERT INTO "T t" (routing_id, v) VALUES ('g2', 'a'); COMMIT`, "0A000", ""},
		{`INSERT INTO "T t" (routing_id, v) VALUES ('g2', 'a'); WITH x AS (INSERT INTO "T t" (routing_id) VALUES ('g2')) INSERT INTO "T t" (routing_id) VALUES ('g2')`, "0A000", ""},
	} {
		got, err := rowsOf(c, test.sql)
		var e *pgconn.PgError
		if errors.As(err, &e); (err != nil) != (test.code != "") || e != nil && e.Code != test.code || got != test.want {
			t.Errorf("%s: %q, %v, want %q, %q", test.sql, got, err, test.want, test.code)
		}
	}
	for table, want := range map[string]string{
		`"T t"`: "1 g1 Ag1,3 g3 c,5 g1 a,6 g3 b,9 ~ y,11 g1 z,13 g3 z", `"T t_relyt_massive_group"`: "2 g2 Bg2,4 g4 d,7 g2 B,8 g2 x,12 g2 z,14 g4 z",
	} {
		column := "routing_id"
		if table != `"T t"` {
			column = "group_id"
		}
		if got, err := rowsOf(b.direct(), "SELECT id, "+column+", v FROM "+table+" ORDER BY id"); err != nil || got != want {
			t.Errorf("%s has %s, %v, want %s", table, got, err, want)
		}
	}
}

// rowsOf returns the rows of a simple query, with ~ for NULL.
func rowsOf(c *pgconn.PgConn, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
	defer cancel()
	results, err := c.Exec(ctx, sql).ReadAll()
	var out []string
	for _, r := range results {
		for _, row := range r.Rows {
			var fields []string
			for _, f := range row {
				if f == nil {
					f = []byte("~")
				}
				fields = append(fields, string(f))
			}
			out = append(out, strings.Join(fields, " "))
		}
	}
	return strings.Join(out, ","), err
}

// TestRoutedInsertBesideMigration: while a group moves, its rows wait and then go
// where it went; those of others do not wait. A snapshot from before a move is no
// good.
func TestRoutedInsertBesideMigration(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	mover := b.direct()
	must(t, mover, pairOf)
	oid := must(t, mover, `SELECT '"T t"'::regclass::oid::int`)
	must(t, mover, "INSERT INTO pgbulk.routing_moving (main, group_id, to_aux) VALUES ("+oid+", 'g3', true)")
	id, err := strconv.ParseUint(oid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	must(t, mover, "BEGIN")
	must(t, mover, "SELECT pg_advisory_xact_lock("+rewrite.GroupLock(uint32(id), "'g3'")+")")
	other, old := b.proxied(), b.proxied()
	must(t, old, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	must(t, old, "SELECT count(*) FROM pgbulk.routing_moving_groups")
	must(t, other, `INSERT INTO "T t" (routing_id, v) VALUES ('g1', 'a'), ('g2', 'b')`)
	done := make(chan error, 3)
	for _, sql := range []string{
		`INSERT INTO "T t" (routing_id, v) VALUES ('g1', 'a'), ('g3', 'b')`, `INSERT INTO "T t" (routing_id, v) SELECT 'g3', 'c'`,
	} {
		c := b.proxied()
		go func() { _, err := rowsOf(c, sql); done <- err }()
	}
	bound := b.proxied()
	go func() {
		done <- bound.ExecParams(context.Background(), `INSERT INTO "T t" (routing_id, v) SELECT $1 || '3', 'd'`, [][]byte{[]byte("g")}, nil, nil, nil).Read().Err
	}()
	eventually(t, patience, func() string {
		if n := must(t, other, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"); n != "3" {
			return n + " wait"
		}
		return ""
	})
	must(t, mover, `INSERT INTO relyt_sys."T t_relyt_routing" VALUES ('g3', 'T t_relyt_massive_group');
		INSERT INTO pgbulk.routing_generation VALUES (`+oid+`, 1) ON CONFLICT (main) DO UPDATE SET generation = routing_generation.generation + 1`)
	must(t, mover, "COMMIT")
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	exec(t, old, `INSERT INTO "T t" (routing_id, v) VALUES ('g1', 'a'), ('g3', 'b')`, "40001")
	if got, err := rowsOf(mover, `SELECT string_agg(routing_id, ' ' ORDER BY id) FROM "T t" UNION ALL SELECT string_agg(group_id, ' ' ORDER BY group_id) FROM "T t_relyt_massive_group"`); err != nil || got != "g1 g1,g2 g3 g3 g3" {
		t.Errorf("%s, %v", got, err)
	}
}
