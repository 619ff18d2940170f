package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// newRoutedBedGreenplum is a proxy in front of a cluster, with a service connection:
// without one the names of routed tables are not known.
func newRoutedBedGreenplum(t *testing.T, change func(*config.Config)) *routedBed {
	t.Helper()
	pg := testenv.Greenplum(t)
	b := newPlainBed(t, pg, Options{}, func(c *config.Config) {
		c.Engine, c.ServiceDSN = "greenplum", pg.TCPDSN("postgres", "postgres")
		if change != nil {
			change(c)
		}
	})
	must(t, b.direct(), "CREATE SCHEMA relyt_sys")
	return &routedBed{bed: b, plain: b.pg.NewDatabase(t), older: true}
}

// makeOlder sets a case up on PostgreSQL 9.4; false says that it can't be.
func (b *routedBed) makeOlder(t *testing.T, plain, admin *pgconn.PgConn, setup, pair string) bool {
	t.Helper()
	older := strings.NewReplacer("EXECUTE FUNCTION", "EXECUTE PROCEDURE", " EXCLUDING IDENTITY", "", " log (", ` "log" (`, " log VALUES", ` "log" VALUES`)
	const drop = "SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC; "
	if _, err := plain.Exec(t.Context(), drop+older.Replace(setup)+"; RESET client_min_messages").ReadAll(); err != nil {
		t.Logf("left out: %s: %v", setup, err)
		must(t, plain, "RESET client_min_messages")
		return false
	}
	must(t, admin, drop+"DROP TABLE IF EXISTS relyt_sys.t_relyt_routing; "+older.Replace(setup+"; "+pair+"; "+routedGroups+b.after))
	return true
}

// segmentsDecide are cases with several rows in error, or notices: which comes first is
// up to the segments, natively, too. And one that PostgreSQL 9.4 has no words for.
var segmentsDecide = []string{
	"check in both, aux first", "check in both, main first", "check before bad integer", "bad integer before check", "where",
	"errors name the first row", "notices and functions",
}

// TestRoutedCopyGreenplum: as on PostgreSQL, for what the server can set up.
func TestRoutedCopyGreenplum(t *testing.T) {
	t.Parallel()
	for name, minBytes := range map[string]int64{"staged": 0, "held": 4 * mib} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newRoutedBedGreenplum(t, func(c *config.Config) { c.Stage.MinBytes = minBytes })
			for _, c := range routedCases() {
				if !slices.Contains(segmentsDecide, c.name) {
					b.compare(t, &c)
				}
			}
			b.wantSwept()
		})
	}
}

// TestRoutedModesGreenplum: upserts into a pair, without ON CONFLICT of the server's own.
func TestRoutedModesGreenplum(t *testing.T) {
	t.Parallel()
	b := newRoutedBedGreenplum(t, nil)
	b.viaProxy = true
	for _, c := range routedUpserts() {
		b.compare(t, &c)
	}
}

// TestRoutedKindsGreenplum: wherever the rows of the two tables and of the routes are on
// the segments, and however they are kept.
func TestRoutedKindsGreenplum(t *testing.T) {
	t.Parallel()
	b := newRoutedBedGreenplum(t, func(c *config.Config) { c.Stage.MinBytes = 0 })
	rows := routedRows(1, 3000)
	for i, kinds := range [][3]string{
		{"DISTRIBUTED BY (group_id)", "DISTRIBUTED BY (id)", "DISTRIBUTED BY (store_table_name)"},
		{"DISTRIBUTED RANDOMLY", "DISTRIBUTED REPLICATED", "DISTRIBUTED REPLICATED"},
		{"DISTRIBUTED REPLICATED", "DISTRIBUTED RANDOMLY", "WITH (appendonly=true) DISTRIBUTED RANDOMLY"},
		{"WITH (appendonly=true, orientation=column) DISTRIBUTED BY (id, note)", "WITH (appendonly=true) DISTRIBUTED BY (note)", "DISTRIBUTED BY (routing_id)"},
		{"DISTRIBUTED BY (id) PARTITION BY RANGE (id) (START (0) END (9000) EVERY (3000))", "DISTRIBUTED BY (id) PARTITION BY LIST (group_id) (DEFAULT PARTITION rest)", "DISTRIBUTED BY (routing_id)"},
	} {
		const columns = "(id int, group_id text, note text)"
		must(t, b.direct(), `SET client_min_messages = error; DROP TABLE IF EXISTS t, t_relyt_massive_group, relyt_sys.t_relyt_routing;
			CREATE TABLE t `+columns+kinds[0]+"; CREATE TABLE t_relyt_massive_group "+columns+kinds[1]+`;
			CREATE TABLE relyt_sys.t_relyt_routing (routing_id text, store_table_name text) `+kinds[2]+`;
			INSERT INTO relyt_sys.t_relyt_routing VALUES ('b', 't_relyt_massive_group'), ('m', 't')`)
		c := b.proxied()
		if o := copyIn(c, fromStdin, strings.NewReader(rows)); o.tag != "COPY 3000" {
			t.Errorf("%v: %s", kinds, o)
		}
		for _, sql := range []string{
			"INSERT INTO t SELECT g, CASE WHEN g % 3 = 0 THEN 'b' ELSE 'a' END, 'x' FROM generate_series(4001, 4300) g",
			"INSERT INTO t SELECT id + 5000, group_id, note FROM t WHERE id < 100",
			"INSERT INTO t (id, group_id) VALUES " + strings.Repeat("(5000, 'b'), (5001, 'a'), (5002, NULL), ", 200) + "(5003, 'm')",
		} {
			must(t, c, sql)
		}
		hangUp(c)
		got := must(t, b.direct(), `SELECT format('%s %s, %s %s', (SELECT count(*) FROM t), (SELECT count(*) FROM t WHERE group_id = 'b'),
			(SELECT count(*) FROM t_relyt_massive_group), (SELECT count(*) FROM t_relyt_massive_group WHERE group_id <> 'b'))`)
		// What INSERT … SELECT reads is the main table alone: 82 rows below 100.
		if got != "3183 0, 800 0" {
			t.Errorf("case %d, %v: %s", i, kinds, got)
		}
	}
}

// TestRoutedMovedByHandGreenplum: a group is moved under locks as the documents say; what
// has rows waits, and then reads its route.
func TestRoutedMovedByHandGreenplum(t *testing.T) {
	t.Parallel()
	b := newRoutedBedGreenplum(t, func(c *config.Config) { c.Stage.MinBytes = 0 })
	mover, loader := b.direct(), b.proxied()
	must(t, mover, `SET client_min_messages = error; CREATE TABLE t (id int, group_id text, note text); CREATE TABLE t_relyt_massive_group (LIKE t);
		CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL)`)
	b.copied(loader, fromStdin, "1\tb\tx\n2\ta\ty\n")
	must(t, loader, "BEGIN")
	b.copied(loader, fromStdin, "3\tb\tx\n")
	moved := make(chan error, 1)
	go func() {
		_, err := mover.Exec(context.Background(), `BEGIN; LOCK TABLE t, t_relyt_massive_group IN SHARE ROW EXCLUSIVE MODE;
			INSERT INTO t_relyt_massive_group SELECT * FROM t WHERE group_id = 'b'; DELETE FROM t WHERE group_id = 'b';
			INSERT INTO relyt_sys.t_relyt_routing VALUES ('b', 't_relyt_massive_group')`).ReadAll()
		moved <- err
	}()
	b.awaitBlocked("the move")
	must(t, loader, "COMMIT")
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	loaded := make(chan outcome, 1)
	go func() { loaded <- copyIn(loader, fromStdin, strings.NewReader("4\tb\tx\n5\ta\ty\n")) }()
	b.awaitBlocked("the load")
	must(t, mover, "COMMIT")
	if o := <-loaded; o.tag != "COPY 2" {
		t.Error(o)
	}
	if got := must(t, mover, `SELECT format('%s, %s', (SELECT string_agg(id::text, ' ' ORDER BY id) FROM t), (SELECT string_agg(id::text, ' ' ORDER BY id) FROM t_relyt_massive_group))`); got != "2 5, 1 3 4" {
		t.Errorf("ids are %s", got)
	}
}

// copied demands that a COPY succeeds.
func (b *routedBed) copied(c *pgconn.PgConn, sql, data string) {
	b.t.Helper()
	if o := copyIn(c, sql, strings.NewReader(data)); o.err != nil || o.lost != nil {
		b.t.Fatal(o)
	}
}

// awaitBlocked waits until a statement waits for a lock on the table.
func (b *routedBed) awaitBlocked(what string) {
	b.t.Helper()
	admin := b.direct()
	defer hangUp(admin)
	eventually(b.t, patience, func() string {
		if n := must(b.t, admin, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"); n == "0" {
			return what + " does not wait"
		}
		return ""
	})
}

// pairsGreenplum is makePairs for PostgreSQL 9.4; keys must have the columns by which
// a table is distributed. A table whose name is new in it comes last.
const pairsGreenplum = `SET client_min_messages = error;
DO $do$
DECLARE t record; x record; aux text; suffix text := '_relyt_massive_group'; routes text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'relyt_sys') THEN CREATE SCHEMA relyt_sys; END IF;
	FOR x IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'relyt_sys' AND c.relname ~ '_relyt_routing$' LOOP
		EXECUTE format('DROP TABLE %%s', x.name);
	END LOOP;
	CREATE TABLE IF NOT EXISTS public.probe%[2]s (%[1]s text);
	FOR t IN SELECT c.oid, c.relname, n.nspname, c.relacl, a.attname AS col FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relkind = 'r' AND c.relstorage <> 'x' AND n.nspname !~ '^(pg_|gp_|information_schema|pgbulk|relyt_sys)' AND a.attname = '%[1]s' AND a.attnum > 0 AND length(c.relname) < 40
		AND a.atttypid IN (20, 21, 23, 25, 1042, 1043) AND NOT c.relhasrules AND NOT c.relhassubclass
		AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
		AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.confrelid = c.oid OR f.contype = 'x' AND f.conrelid = c.oid)
		AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND NOT a.attnum = ANY (i.indkey))
		AND NOT EXISTS (SELECT FROM pg_class o WHERE o.relname = c.relname AND o.oid <> c.oid AND o.relkind = 'r')
	LOOP
		aux := format('%%I.%%I', t.nspname, t.relname || suffix);
		EXECUTE format('CREATE TABLE %%s (LIKE %%s INCLUDING DEFAULTS INCLUDING CONSTRAINTS) %%s', aux, t.oid::regclass, pg_get_table_distributedby(t.oid));
		FOR x IN SELECT conname, pg_get_constraintdef(oid) AS def FROM pg_constraint WHERE conrelid = t.oid AND contype IN ('p', 'u') LOOP
			EXECUTE format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', aux, x.conname || suffix, x.def);
		END LOOP;
		FOR x IN SELECT (aclexplode(t.relacl)).* LOOP
			EXECUTE format('GRANT %%s ON %%s TO %%s', x.privilege_type, aux, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END);
		END LOOP;
		routes := format('relyt_sys.%%I', t.relname || '_relyt_routing');
		EXECUTE format('CREATE TABLE %%s (routing_id text PRIMARY KEY, store_table_name text NOT NULL)', routes);
		EXECUTE format('GRANT SELECT ON %%s TO PUBLIC; GRANT USAGE ON SCHEMA relyt_sys TO PUBLIC', routes);
		EXECUTE format($$INSERT INTO %%s SELECT g::text, %%L FROM generate_series(-200, 600) g WHERE g %%%% 2 = 0 UNION ALL
			SELECT w, %%L FROM unnest('{a,b,c,d,x,y,one,two,l,toolong,é,it''s,probe}'::text[]) w WHERE w = 'probe' OR hashtext(w) %%%% 2 = 0$$, routes, t.relname || suffix, t.relname || suffix);
		EXECUTE format('INSERT INTO %%s SELECT * FROM %%s m WHERE EXISTS (SELECT FROM %%s r WHERE r.routing_id = m.%%I::text)', aux, t.oid::regclass, routes, t.col);
		EXECUTE format('DELETE FROM %%s m WHERE EXISTS (SELECT FROM %%s r WHERE r.routing_id = m.%%I::text)', t.oid::regclass, routes, t.col);
	END LOOP;
END $do$`

// probed waits until a table that was made with the pairs is known to be routed: a row
// that the proxy is given then comes into the auxiliary table. There is no lease to
// look at.
func (r *running) probed(ctx context.Context, pg *testenv.PG, conn *pgx.Conn, probe string) error {
	proxied, err := pgx.Connect(ctx, r.dsn(pg, conn.Config().Database, "postgres"))
	if err != nil {
		return err
	}
	defer proxied.Close(context.Background())
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for n := 0; n == 0; {
		if _, err := proxied.PgConn().Exec(ctx, "INSERT INTO public."+probe+" VALUES ('probe')").ReadAll(); err != nil {
			return err
		}
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM public."+probe+auxSuffix).Scan(&n); err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, "DROP TABLE public."+probe+", public."+probe+auxSuffix+", relyt_sys."+probe+"_relyt_routing")
	return err
}

// textsGreenplum are texts of several statements that differ.
var textsGreenplum = map[string]string{
	"a block in one text": "docs/engines.md: BEGIN behind other statements of a text is refused",
	"parameters":          "SET between INSERTs in one text: the server loses its own transaction natively, by pieces it does not",
	"errors":              "VACUUM in one text with others has another message in 9.4",
}

// TestRoutedInsertsGreenplum: INSERTs into pairs of tables are as INSERTs into one.
func TestRoutedInsertsGreenplum(t *testing.T) {
	t.Parallel()
	pg := testenv.Greenplum(t)
	r := start(t, pg, Options{}, func(c *config.Config) {
		c.Engine, c.ServiceDSN, c.Routing.Column = "greenplum", pg.TCPDSN("postgres", "postgres"), "a"
	})
	direct := pgtest.Target{Name: "direct", DSN: func(db string) string { return pg.TCPDSN(db, "postgres") }, NewDatabase: pg.NewDatabase}
	proxied := pgtest.Target{Name: "proxied", DSN: func(db string) string { return r.dsn(pg, db, "postgres") }}
	o := pgtest.Options{
		Distributed: true, Timeout: 20 * time.Second,
		Skip: func(script string, c *pgtest.Case) string {
			if slices.Contains(segmentsDecide, c.Name) {
				return "which comes first is up to the segments"
			}
			if filepath.Base(script) == "texts.txt" {
				return textsGreenplum[c.Name]
			}
			return cmp.Or(routedSkips[c.Name], notOnGreenplum(script, c))
		},
		Pairs: &pgtest.Pairs{Suffix: auxSuffix, Make: func(ctx context.Context, conn *pgx.Conn) error {
			probe := strings.ToLower(rand.Text()[:8])
			if _, err := conn.PgConn().Exec(ctx, fmt.Sprintf(pairsGreenplum, "a", probe)).ReadAll(); err != nil {
				return err
			}
			return r.probed(ctx, pg, conn, "probe"+probe)
		}},
		AfterCase: func(t testing.TB, _, db string, _ *pgtest.Case) {
			conn := pg.Connect(t, db, "postgres")
			if _, err := conn.PgConn().Exec(t.Context(), fmt.Sprintf(outOfPlace, "a")).ReadAll(); err != nil {
				t.Error(err)
			}
			_ = conn.Close(t.Context())
		},
	}
	for _, name := range []string{"routed/inserts", "routed/several", "routed/texts", "insert/simple", "insert/literals", "insert/tables", "insert/names", "insert/roles"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			pgtest.Diff(t, filepath.Join(scripts, name+".txt"), direct, proxied, o)
		})
	}
}

// TestRoutedExtendedGreenplum: small INSERTs by the extended protocol, prepared and in
// batches.
func TestRoutedExtendedGreenplum(t *testing.T) {
	t.Parallel()
	pg := testenv.Greenplum(t)
	r := start(t, pg, Options{}, func(c *config.Config) {
		c.Engine, c.ServiceDSN = "greenplum", pg.TCPDSN("postgres", "postgres")
	})
	direct := pgtest.Target{Name: "direct", DSN: func(db string) string { return pg.TCPDSN(db, "postgres") }, NewDatabase: pg.NewDatabase}
	proxied := pgtest.Target{Name: "proxied", DSN: func(db string) string { return r.dsn(pg, db, "postgres") }}
	o := pgtest.Options{
		Distributed: true, Timeout: 20 * time.Second,
		Skip: func(script string, c *pgtest.Case) string {
			if c.Name == "pipelines" {
				return "docs/engines.md: behind statements of a pipeline that have written the server takes no BEGIN"
			}
			return notOnGreenplum(script, c)
		},
		Prepare: func(t testing.TB, db string) {
			conn := pg.Connect(t, db, "postgres")
			must(t, conn.PgConn(), "CREATE SCHEMA relyt_sys")
			_ = conn.Close(context.Background())
		},
		Pairs: &pgtest.Pairs{Suffix: auxSuffix, Make: func(ctx context.Context, conn *pgx.Conn) error {
			probe := "probe" + strings.ToLower(rand.Text()[:8])
			sql := strings.NewReplacer("PROBE", probe, "AUX", auxSuffix).Replace(`; CREATE TABLE PROBE (group_id text); CREATE TABLE PROBEAUX (group_id text);
				CREATE TABLE relyt_sys.PROBE_relyt_routing AS SELECT 'probe'::text AS routing_id, 'PROBEAUX'::text AS store_table_name`)
			if _, err := conn.PgConn().Exec(ctx, "SET client_min_messages = error;"+groupPairs+sql).ReadAll(); err != nil {
				return err
			}
			return r.probed(ctx, pg, conn, probe)
		}},
		AfterCase: func(t testing.TB, _, db string, c *pgtest.Case) {
			conn := pg.Connect(t, db, "postgres")
			defer conn.Close(context.Background())
			if got := must(t, conn.PgConn(), groupsOut); got != "wrong 0" {
				t.Errorf("%s: %s", c.Name, got)
			}
		},
	}
	for _, file := range []string{"insert/groups", "routed/binds"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			pgtest.Diff(t, scripts+"/"+file+".txt", direct, proxied, o)
		})
	}
}
