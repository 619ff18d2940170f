package proxy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// roleWays are loads of rows (1, 'a', 'x') and (2, 'b', 'y'), by whatever code does
// them for a routed table.
var roleWays = []struct {
	name string
	load func(t *testing.T, c *pgconn.PgConn) error
}{
	{"copy", func(t *testing.T, c *pgconn.PgConn) error {
		o := copyIn(c, "COPY t (id, group_id, note) FROM STDIN", strings.NewReader("1\ta\tx\n2\tb\ty\n"))
		if o.err != nil {
			return o.err
		}
		return o.lost
	}},
	{"values", roleQuery("INSERT INTO t (id, group_id, note) VALUES (1, 'a', 'x'), (2, 'b', 'y')")},
	{"several", roleQuery("INSERT INTO t (id, group_id, note) VALUES (1, 'a', 'x'); INSERT INTO t (id, group_id, note) VALUES (2, 'b', 'y')")},
	{"bind", roleBind("INSERT INTO t (id, group_id, note) VALUES (1, 'a', 'x'), ($1, 'b', 'y')", "2")},
	{"batch", roleBatch},
	{"select", roleQuery("INSERT INTO t (id, group_id, note) SELECT * FROM (VALUES (1, 'a', 'x'), (2, 'b', 'y')) v")},
	{"bound select", roleBind("INSERT INTO t (id, group_id, note) SELECT v.* FROM (VALUES (1, 'a', 'x'), ($1::int, 'b', 'y')) v", "2")},
}

func roleQuery(sql string) func(*testing.T, *pgconn.PgConn) error {
	return func(t *testing.T, c *pgconn.PgConn) error { _, err := c.Exec(t.Context(), sql).ReadAll(); return err }
}

func roleBatch(t *testing.T, c *pgconn.PgConn) error {
	if _, err := c.Prepare(t.Context(), "s", "INSERT INTO t (id, group_id, note) VALUES ($1, $2, 'x')", nil); err != nil {
		return err
	}
	b := new(pgconn.Batch)
	b.ExecPrepared("s", [][]byte{[]byte("1"), []byte("a")}, nil, nil)
	b.ExecPrepared("s", [][]byte{[]byte("2"), []byte("b")}, nil, nil)
	_, err := c.ExecBatch(t.Context(), b).ReadAll()
	return err
}

func roleBind(sql, arg string) func(*testing.T, *pgconn.PgConn) error {
	return func(t *testing.T, c *pgconn.PgConn) error {
		return c.ExecParams(t.Context(), sql, [][]byte{[]byte(arg)}, nil, nil, nil).Read().Err
	}
}

// roleCases are rights of a role (%[1]s) on a pair; %[2]s owns nothing yet. Each of
// the ways fails with its code, or succeeds.
var roleCases = []struct {
	name, grants string
	codes        []string
}{
	{"all", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s", all("")},
	{"main only", "GRANT INSERT ON t TO %[1]s", all("42501")},
	{"aux only", "GRANT INSERT ON t_relyt_massive_group TO %[1]s", all("42501")},
	{"not the routes", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; REVOKE SELECT ON relyt_sys.t_relyt_routing FROM PUBLIC", all("42501")},
	{"not their schema", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; REVOKE USAGE ON SCHEMA relyt_sys FROM PUBLIC", all("42501")},
	{"some routes", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; ALTER TABLE relyt_sys.t_relyt_routing ENABLE ROW LEVEL SECURITY", all("42501")},
	{"columns", "GRANT INSERT (id, group_id, note) ON t, t_relyt_massive_group TO %[1]s", all("0A000")},
	{"columns of aux", "GRANT INSERT ON t TO %[1]s; GRANT INSERT (id, group_id, note) ON t_relyt_massive_group TO %[1]s", all("42501")},
	{"owner of main", "ALTER TABLE t OWNER TO %[1]s", all("42501")},
	{"two owners", "ALTER TABLE t OWNER TO %[1]s; ALTER TABLE t_relyt_massive_group OWNER TO %[2]s; GRANT INSERT ON t_relyt_massive_group TO %[1]s", all("")},
	{"no sequence", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; CREATE SEQUENCE s; ALTER TABLE t ALTER n SET DEFAULT nextval('s'); ALTER TABLE t_relyt_massive_group ALTER n SET DEFAULT nextval('s')", all("42501")},
	{"policy on both", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t_relyt_massive_group ENABLE ROW LEVEL SECURITY;" +
		"CREATE POLICY p ON t FOR INSERT WITH CHECK (id < 2); CREATE POLICY p ON t_relyt_massive_group FOR INSERT WITH CHECK (id < 2)", append([]string{"0A000"}, all("42501")[1:]...)},
	{"policy on aux", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; ALTER TABLE t_relyt_massive_group ENABLE ROW LEVEL SECURITY", append([]string{"0A000"}, all("42501")[1:]...)},
	{"policy on main", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; ALTER TABLE t ENABLE ROW LEVEL SECURITY", append([]string{"0A000"}, all("42501")[1:]...)},
	{"policy lets all", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t FOR INSERT WITH CHECK (true)", append([]string{"0A000"}, all("")[1:]...)},
	{"no temporary tables", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %%I FROM PUBLIC', current_database()); END $$",
		[]string{"42501", "", "", "", "", "42501", "42501"}},
	{"no function", "GRANT INSERT ON t, t_relyt_massive_group TO %[1]s; REVOKE EXECUTE ON FUNCTION pgbulk.routing_moving(oid) FROM PUBLIC", all("42501")},
}

func all(code string) []string { return slices.Repeat([]string{code}, len(roleWays)) }

// TestRoutedRoles: what a role may not do to one of the tables, or not ask of the
// routes, fails its loads into the pair, and none of the rows go to the main table
// alone; what it may do is enough.
func TestRoutedRoles(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, begin, end string
		rows             int // that are enough to be streamed
	}{{"few", "SELECT", "SELECT", 50}, {"many in a block", "BEGIN", "COMMIT", 2}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) {
				c.Lease.Timeout = time.Second
				c.Insert.MinRows, c.Insert.MinRowsAlone, c.Insert.MinRowsBind, c.Insert.MinRowsBatch = test.rows, test.rows, test.rows, test.rows
			})
			admin := b.direct()
			hangUp(b.pair(t, routedT))
			if err := awaitSeen(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t"); err != nil {
				t.Fatal(err)
			}
			for _, rc := range roleCases {
				hangUp(b.pair(t, "CREATE TABLE t (id int, group_id text, note text, n int)"))
				role, other := b.pg.NewRole(t, ""), b.pg.NewRole(t, "")
				must(t, admin, strings.NewReplacer("%[1]s", role, "%[2]s", other, "%%", "%").Replace(rc.grants))
				for i, way := range roleWays {
					b.loadAs(t, role, rc.name+", "+way.name, rc.codes[i], test.begin, test.end, way.load)
					must(t, admin, "TRUNCATE t, t_relyt_massive_group")
				}
				must(t, admin, "DROP TABLE t, t_relyt_massive_group"+anyRole)
			}
		})
	}
}

// anyRole gives back what a case has taken from PUBLIC.
const anyRole = "; GRANT USAGE ON SCHEMA relyt_sys TO PUBLIC; GRANT EXECUTE ON FUNCTION pgbulk.routing_moving(oid) TO PUBLIC; DROP SEQUENCE IF EXISTS s CASCADE;" +
	"DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$"

// loadAs has a role load, and demands an error of the code, or the rows.
func (b *bed) loadAs(t *testing.T, role, name, code, begin, end string, load func(*testing.T, *pgconn.PgConn) error) {
	t.Helper()
	c := b.connect(b.dsn(b.pg, b.db, role))
	must(t, c, begin)
	err := load(t, c)
	var e *pgconn.PgError
	if errors.As(err, &e); err != nil && e == nil || (code != "") != (err != nil) || e != nil && e.Code != code {
		t.Errorf("%s: %v, want %q", name, err, code)
	}
	status, want := byte('I'), "0 0"
	switch {
	case begin == "BEGIN" && err != nil:
		status = 'E'
	case begin == "BEGIN":
		status = 'T'
	}
	if c.TxStatus() != status {
		t.Errorf("%s: status %c", name, c.TxStatus())
	}
	must(t, c, end)
	hangUp(c)
	if code == "" {
		want = "1 1"
	}
	admin := b.direct()
	defer hangUp(admin)
	if got := must(t, admin, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM t_relyt_massive_group)"); got != want {
		t.Errorf("%s: rows %s, want %s", name, got, want)
	}
}
