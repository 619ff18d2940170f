package routing

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// pairBed is a database with a pair of tables: public.t, its auxiliary table and
// its routes.
type pairBed struct {
	t    testing.TB
	pg   *testenv.PG
	db   string
	conn *pgx.Conn // for what the test itself asks
}

// plainPair has a key, and a column of a sequence.
const plainPair = `CREATE TABLE t (id bigserial PRIMARY KEY, group_id int, v text);
CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL);`

func newPairBed(t testing.TB, tables string) *pairBed {
	t.Helper()
	b := &pairBed{t: t, pg: testenv.Postgres(t)}
	b.db = b.pg.NewDatabase(t)
	b.conn = b.pg.Connect(t, b.db, "postgres")
	b.exec("BEGIN; " + InstallSQL("") + "COMMIT; RESET ALL;" + tables +
		"CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL)")
	return b
}

// fill adds n rows to each of the groups, which are SQL constants.
func (b *pairBed) fill(table string, n int, groups ...string) {
	b.t.Helper()
	for _, g := range groups {
		b.exec(fmt.Sprintf("INSERT INTO %s (group_id, v) SELECT %s, 'v' || i FROM generate_series(1, %d) i", table, g, n))
	}
}

// oid is the main table's.
func (b *pairBed) oid() uint32 {
	b.t.Helper()
	n, err := strconv.ParseUint(b.ask("SELECT 't'::regclass::oid"), 10, 32)
	if err != nil {
		b.t.Fatal(err)
	}
	return uint32(n)
}

func (b *pairBed) exec(sql string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := b.conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// ask returns all rows, columns separated by blanks, rows by "; ".
func (b *pairBed) ask(sql string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results, err := b.conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	var rows []string
	for _, row := range results[len(results)-1].Rows {
		var cells []string
		for _, c := range row {
			cells = append(cells, string(c))
		}
		rows = append(rows, strings.Join(cells, " "))
	}
	return strings.Join(rows, "; ")
}

// where the groups are: group, rows in main, rows in aux.
const where = `SELECT coalesce(group_id::text, 'NULL') || ':' || count(*) FILTER (WHERE NOT a) || '+' || count(*) FILTER (WHERE a)
FROM (SELECT group_id, false a FROM t UNION ALL SELECT group_id, true FROM t_relyt_massive_group) u GROUP BY group_id ORDER BY group_id::text COLLATE "C"`

const routes = `SELECT string_agg(routing_id, ',' ORDER BY routing_id COLLATE "C") FROM relyt_sys.t_relyt_routing WHERE store_table_name LIKE '%t_relyt_massive_group'`

// migrator opens a session for migrations.
func (b *pairBed) migrator() *pgx.Conn {
	b.t.Helper()
	conn, err := connectMigrator(b.pg.DSN(b.db, "postgres"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func connectMigrator(dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	MigrateConfig(cfg)
	return pgx.ConnectConfig(context.Background(), cfg)
}

var pairT = MigrateTarget{Table: "public.t"}

// migrate runs a migration that has to move everything.
func (b *pairBed) migrate(o MigrateOptions) *MigrateResult {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := Migrate(ctx, b.migrator(), pairT, o)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range r.Failed {
		b.t.Error(f)
	}
	return r
}

// expect compares where the rows and the routes are.
func (b *pairBed) expect(rows, routed string) {
	b.t.Helper()
	if got := b.ask(where); got != rows {
		b.t.Errorf("rows are %q, want %q", got, rows)
	}
	if got := b.ask(routes); got != routed {
		b.t.Errorf("routed is %q, want %q", got, routed)
	}
	if got := b.ask("SELECT count(*) FROM pgbulk.routing_moving"); got != "0" {
		b.t.Errorf("%s markers are left", got)
	}
	if got := b.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); got != "0" {
		b.t.Errorf("%s locks are left", got)
	}
}

// load is a session that follows the protocol of loads, in a transaction.
type load struct {
	b    *pairBed
	conn *pgx.Conn
	oid  string
}

func (b *pairBed) newLoad() *load {
	b.t.Helper()
	return &load{b: b, conn: b.pg.Connect(b.t, b.db, "postgres"), oid: b.ask("SELECT 't'::regclass::oid")}
}

func (l *load) run(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := l.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

func (l *load) must(sql string) {
	l.b.t.Helper()
	if err := l.run(sql); err != nil {
		l.b.t.Fatalf("%s: %v", sql, err)
	}
}

// begin enters the table.
func (l *load) begin(isolation string) string {
	return fmt.Sprintf(`BEGIN ISOLATION LEVEL %s; LOCK TABLE ONLY t IN ROW EXCLUSIVE MODE;
SELECT pg_advisory_xact_lock_shared(%d, %s)`, isolation, rewrite.LockClass, l.oid)
}

// insert adds rows of one group, as their route says, behind its lock.
func (l *load) insert(group string, values string) string {
	return fmt.Sprintf(`SELECT pg_advisory_xact_lock_shared(hashtextextended('%[1]s', %[2]s)) WHERE '%[1]s' = ANY (pgbulk.routing_moving(%[2]s));
WITH r AS (SELECT EXISTS (SELECT FROM relyt_sys.t_relyt_routing WHERE routing_id = '%[1]s' AND store_table_name LIKE '%%massive_group') AS aux),
v AS (SELECT * FROM (%[3]s) v(group_id, v)), a AS (INSERT INTO t_relyt_massive_group (group_id, v) SELECT v.* FROM v, r WHERE r.aux)
INSERT INTO t (group_id, v) SELECT v.* FROM v, r WHERE NOT r.aux`, group, l.oid, values)
}
