package proxy

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// routedCase is a script that runs on one plain table directly, and through the
// proxy on a pair of tables, some of whose groups are in the auxiliary one.
type routedCase struct {
	name  string
	setup string // makes table t in both databases
	// pair makes the auxiliary table; the default is one like t.
	pair string
	// column is the routing column of both, or "main aux".
	column string
	steps  []routedStep
	// refused: the proxy refuses what the server does.
	refused string
}

// routedStep is a COPY with its data, or any other statement.
type routedStep struct{ sql, data string }

func loads(sql, data string) routedStep { return routedStep{sql, data} }
func runs(sql string) routedStep        { return routedStep{sql: sql} }

const (
	routedT = "CREATE TABLE t (id int PRIMARY KEY, group_id text, note text CHECK (note <> 'forbidden'), n int NOT NULL DEFAULT 7)"
	likeT   = "CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL EXCLUDING IDENTITY)"
	// routedGroups stand in the routing table; m is the main table's though it does.
	routedGroups = `CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
		GRANT SELECT ON relyt_sys.t_relyt_routing TO PUBLIC; GRANT USAGE ON SCHEMA relyt_sys TO PUBLIC;
		INSERT INTO relyt_sys.t_relyt_routing VALUES ('b', 't_relyt_massive_group'), ('it''s "\', 'public.t_relyt_massive_group'), ('7', '"t_relyt_massive_group"'), ('m', 't'), ('true', 't_relyt_massive_group')`
	fromStdin = "COPY t (id, group_id, note) FROM STDIN"
)

// routedRows are n rows from number from on, of which every third is the
// auxiliary table's.
func routedRows(from, n int) string {
	return string(generate(n, func(i int) string {
		group := []string{"a", "b", "m", `\N`, `it's "\\`, "b "}[(from+i)%6]
		return fmt.Sprintf("%d\t%s\tnote %d, long enough to fill some files of a load\n", from+i, group, from+i)
	}))
}

func routedCases() []routedCase {
	return slices.Concat(routedAppends(), routedErrors(), routedTables(), routedModes(), routedBlocks(), routedMainAlone())
}

func plainRouted(name string, steps ...routedStep) routedCase {
	return routedCase{name: name, setup: routedT, column: "group_id", steps: steps}
}

func routedAppends() []routedCase {
	many := routedRows(1, 5000)
	csv := "id,group_id,note\n" + string(generate(4000, func(i int) string {
		return fmt.Sprintf("%d,%s,\"of several\nlines, number %d\"\n", i, []string{"a", "b", `"it's ""\"`, ""}[i%4], i)
	}))
	return []routedCase{
		plainRouted("nothing", loads(fromStdin, "")),
		plainRouted("one row", loads(fromStdin, "1\tb\tx\n")),
		plainRouted("many", loads(fromStdin, many), loads(fromStdin, routedRows(6000, 10))),
		plainRouted("csv", loads(fromStdin+" (FORMAT csv, HEADER)", csv)),
		plainRouted("options", loads(fromStdin+" (FORMAT csv, DELIMITER ';', NULL 'b', QUOTE '!', FORCE_NULL (group_id), FORCE_NOT_NULL (note))", "1;!b!;x\n2;b;b\n3;!it's \"\\!;y\n")),
		plainRouted("no group", loads("COPY t (id, note) FROM STDIN", "1\tx\n2\ty\n")),
		plainRouted("without a list", loads("COPY t FROM STDIN", "1\tb\tx\t1\n2\ta\ty\t2\n")),
		plainRouted("end mark", loads(fromStdin, "1\tb\tx\n\\.\n")),
		plainRouted("encoding", runs("SET client_encoding = 'LATIN1'"), loads(fromStdin, "1\tb\t\xe9\n"), runs("RESET client_encoding")),
		plainRouted("mode off", runs("SET pgbulk.mode = 'off'"), loads(fromStdin, many)),
	}
}

func routedErrors() []routedCase {
	many := routedRows(1, 5000)
	insert := func(data string) []routedStep {
		return []routedStep{loads(fromStdin, data), loads(fromStdin, "9999\tb\tthe next\n")}
	}
	return []routedCase{
		plainRouted("bad integer", insert(many+"x\tb\ty\n")...),
		plainRouted("too many columns", insert(many+"1\tb\ty\tz\n")...),
		plainRouted("too few columns", insert("1\tb\n")...),
		plainRouted("check in main", insert(many+"6000\ta\tforbidden\n")...),
		plainRouted("check in aux", insert(many+"6000\tb\tforbidden\n"+routedRows(7000, 3000))...),
		plainRouted("check in both, aux first", insert("1\tb\tforbidden\n2\ta\tforbidden\n")...),
		plainRouted("check in both, main first", insert("1\ta\tforbidden\n2\tb\tforbidden\n")...),
		plainRouted("check before bad integer", insert("1\tb\tforbidden\nx\ta\tx\n")...),
		plainRouted("bad integer before check", insert("x\tb\tforbidden\n1\ta\tforbidden\n")...),
		plainRouted("twice in main", insert(many+"6\ta\tagain\n")...),
		plainRouted("twice in aux", insert("1\tb\tx\n2\ta\ty\n"+routedRows(10, 4000)+"1\tb\tx\n")...),
		plainRouted("not null", insert("\\N\tb\tx\n")...),
		plainRouted("csv quote", loads(fromStdin+" (FORMAT csv)", "1,b,x\n2,a,\"never closed\n")),
		plainRouted("csv line", loads(fromStdin+" (FORMAT csv)", "1,b,\"two\nlines\"\n2,b,forbidden\n")),
		plainRouted("no such column", loads("COPY t (id, nix) FROM STDIN", "1\tb\n")),
		plainRouted("there already", runs("INSERT INTO t VALUES (3, 'a', 'x')"), loads(fromStdin, many)),
	}
}

// routedTables are tables of all sorts.
func routedTables() []routedCase {
	rows := "a\t1\nb\t2\nb\t3\nm\t4\n\\N\t5\nb\t6\n"
	with := func(name, setup, sql, data string) routedCase {
		return routedCase{name: name, setup: setup, column: "group_id", steps: []routedStep{loads(sql, data)}}
	}
	serial := with("serial", "CREATE TABLE t (id serial, group_id text, n int)", "COPY t (group_id, n) FROM STDIN", rows)
	serial.steps = append(serial.steps, serial.steps[0], runs("SELECT lastval()"))
	renamed := with("aux names it otherwise", "CREATE TABLE t (id int PRIMARY KEY, group_id text, n int)", "COPY t (n, group_id, id) FROM STDIN (HEADER MATCH)", "n\tgroup_id\tid\n1\ta\t1\n2\tb\t2\n3\tb\t3\n")
	renamed.pair, renamed.column = likeT+"; ALTER TABLE t_relyt_massive_group RENAME group_id TO routing_id", "group_id routing_id"
	renamed.steps = append(renamed.steps, loads("COPY t (n, group_id, id) FROM STDIN", "5\ta\t9\n1\tb\t3\n"))
	fk := with("foreign key", "CREATE TABLE parent (n int PRIMARY KEY); INSERT INTO parent VALUES (1), (2), (3); CREATE TABLE t (group_id text, n int REFERENCES parent)", "COPY t FROM STDIN", "a\t1\nb\t2\n")
	fk.pair = likeT + "; ALTER TABLE t_relyt_massive_group ADD CONSTRAINT t_n_fkey FOREIGN KEY (n) REFERENCES parent"
	fk.steps = append(fk.steps, loads("COPY t FROM STDIN", "a\t1\nb\t9\n"), loads("COPY t FROM STDIN", "a\t9\nb\t1\n"), loads("COPY t FROM STDIN", "a\t9\nb\tx\n"))
	trigger := with("triggers", `CREATE TABLE t (group_id text, n int); CREATE TABLE log (seen serial, n int);
		CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.n = 3 THEN RETURN NULL; END IF; NEW.n := NEW.n * 2; RETURN NEW; END';
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (n) VALUES (NEW.n); RETURN NULL; END';
		CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION skip(); CREATE TRIGGER b AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note()`,
		"COPY t FROM STDIN", rows)
	trigger.pair = likeT + `; CREATE TRIGGER a BEFORE INSERT ON t_relyt_massive_group FOR EACH ROW EXECUTE FUNCTION skip();
		CREATE TRIGGER b AFTER INSERT ON t_relyt_massive_group FOR EACH ROW EXECUTE FUNCTION note()`
	trigger.steps = append(trigger.steps, runs("SELECT string_agg(n::text, ' ' ORDER BY n) FROM log"))
	rules := with("rules", "CREATE TABLE t (group_id text, n int); CREATE TABLE log (n int); CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (NEW.n)", "COPY t FROM STDIN", rows)
	rules.refused = "0A000"
	return []routedCase{
		serial, renamed, fk, trigger, rules,
		with("identity always", "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 3), group_id text, n int)", "COPY t (group_id, n) FROM STDIN", rows),
		with("identity given", "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, group_id text, n int)", "COPY t (group_id, id) FROM STDIN", rows),
		with("generated", "CREATE TABLE t (n int, group_id text, twice int GENERATED ALWAYS AS (n * 2) STORED)", "COPY t (group_id, n) FROM STDIN", rows),
		with("default group", "CREATE TABLE t (n int, group_id text DEFAULT 'b')", "COPY t (n) FROM STDIN", "1\n2\n"),
		with("integers", "CREATE TABLE t (group_id int, n int)", "COPY t FROM STDIN", "7\t1\n007\t2\n 7\t3\n8\t4\n-7\t5\n\\N\t6\n"),
		with("numerics", "CREATE TABLE t (group_id numeric, n int)", "COPY t FROM STDIN", "7\t1\n7.0\t2\n0.7e1\t3\n8\t4\n"),
		with("char(n)", "CREATE TABLE t (group_id char(5), n int)", "COPY t FROM STDIN", "b\t1\nb  \t2\n b\t3\n"),
		with("boolean", "CREATE TABLE t (group_id bool, n int)", "COPY t FROM STDIN", "t\t1\nyes\t2\nf\t3\n"),
		with("varchar(n)", "CREATE TABLE t (group_id varchar(3), n int)", "COPY t FROM STDIN", "b\t1\nb    \t2\nlong\t3\n"),
		with("domain", "CREATE DOMAIN d AS int CHECK (VALUE > 0); CREATE TABLE t (group_id text, n d)", "COPY t FROM STDIN", "b\t1\nb\t0\n"),
		with("enum", "CREATE TYPE e AS ENUM ('x', 'y'); CREATE TABLE t (group_id text, n e, m e[])", "COPY t FROM STDIN", "b\tx\t{x,y}\na\ty\t{}\n"),
		with("collation", `CREATE TABLE t (group_id text COLLATE "C", n int, "Odd ""é" varchar(4) COLLATE "C" DEFAULT 'dé' NOT NULL)`, "COPY t (group_id, n) FROM STDIN", rows),
		with("partitions", "CREATE TABLE t (group_id text, n int) PARTITION BY RANGE (n); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (3); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (3) TO (9)", "COPY t FROM STDIN", rows),
		with("no partition", "CREATE TABLE t (group_id text, n int) PARTITION BY LIST (group_id); CREATE TABLE t1 PARTITION OF t FOR VALUES IN ('a', 'm', NULL)", "COPY t FROM STDIN", "a\t1\nc\t2\n"),
		with("unlogged", "CREATE UNLOGGED TABLE t (group_id text, n int)", "COPY t FROM STDIN", rows),
		with("temporary", "CREATE TABLE t (group_id text, n int)", "COPY t FROM STDIN", rows),
		with("deferrable", "CREATE TABLE t (group_id text, n int UNIQUE DEFERRABLE)", "COPY t FROM STDIN", rows+"b\t6\n"),
		with("names of ours", "CREATE TABLE t (group_id text, pgbulkproxy_row int, pgbulkproxy_rows int)", "COPY t FROM STDIN", "b\t1\t2\na\t3\t4\n"),
	}
}

func routedModes() []routedCase {
	many := routedRows(1, 4000)
	base := loads(fromStdin, many)
	refused := plainRouted("where", loads("COPY t (id, group_id) FROM STDIN WHERE id > 1", "1\tb\n2\tb\n"))
	refused.refused = "0A000"
	freeze := plainRouted("freeze", loads("COPY t (id, group_id) FROM STDIN (FREEZE)", "1\tb\n2\tb\n"))
	return []routedCase{refused, freeze, plainRouted("twice", base, base)}
}

func routedBlocks() []routedCase {
	many, more := loads(fromStdin, routedRows(1, 2000)), loads(fromStdin, routedRows(3000, 2000))
	bad := loads(fromStdin, routedRows(9000, 2000)+"1\tb\tforbidden\n")
	return []routedCase{
		plainRouted("commit", runs("BEGIN"), many, runs("SELECT count(*) > 0 FROM t"), more, runs("COMMIT")),
		plainRouted("rollback", runs("BEGIN"), many, runs("ROLLBACK")),
		plainRouted("failed", runs("BEGIN"), many, bad, runs("SELECT 1"), runs("COMMIT")),
		plainRouted("savepoints", runs("BEGIN"), runs("SAVEPOINT a"), many, runs("ROLLBACK TO a"), more, runs("SAVEPOINT a"), bad, runs("ROLLBACK TO a"),
			loads(fromStdin, "1\tb\tx\n"), runs("COMMIT")),
		plainRouted("repeatable read", runs("BEGIN ISOLATION LEVEL REPEATABLE READ"), runs("SELECT 1"), many, bad, runs("COMMIT")),
		plainRouted("serializable", runs("BEGIN ISOLATION LEVEL SERIALIZABLE"), many, more, runs("COMMIT")),
		plainRouted("read only", runs("BEGIN READ ONLY"), many, runs("COMMIT")),
		plainRouted("small ones", runs("BEGIN"), loads(fromStdin, "1\tb\tx\n"), loads(fromStdin, "2\ta\tx\n"), runs("COMMIT"), loads(fromStdin, "2\tb\tx\n3\tb\tforbidden\n")),
	}
}

// routedBed is a database with a plain table, and a bed with a routed one.
type routedBed struct {
	*bed
	plain string
	// onCitus: the databases are of a cluster. spread is what Citus' tables are made
	// by, behind every setup.
	onCitus bool
	spread  string
	// viaProxy: the plain table is loaded through a proxy, too; after is SQL behind
	// the making of a pair.
	viaProxy bool
	after    string
	// older is the dialect of a server that has no CREATE TRIGGER … EXECUTE FUNCTION;
	// cases that it can't set up are left out.
	older bool
}

func newRoutedBed(t *testing.T, engine string, change func(*config.Config)) *routedBed {
	t.Helper()
	b := newBed(t, Options{}, func(c *config.Config) {
		c.Engine = engine
		if change != nil {
			change(c)
		}
	})
	return &routedBed{bed: b, plain: b.pg.NewDatabase(t)}
}

// TestRoutedCopyAsOneTable: rows, tags, errors and transaction status are those
// of one table, and each row lies where the routes say.
func TestRoutedCopyAsOneTable(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		for name, minBytes := range map[string]int64{"staged": 0, "held": 4 * mib} {
			t.Run(engine+" "+name, func(t *testing.T) {
				t.Parallel()
				b := newRoutedBed(t, engine, func(c *config.Config) { c.Stage.MinBytes = minBytes })
				for _, c := range routedCases() {
					b.compare(t, &c)
				}
				b.wantSwept()
			})
		}
	}
}

// compare runs a case on both sides.
func (b *routedBed) compare(t *testing.T, c *routedCase) {
	t.Helper()
	plain, admin := b.connect(b.pg.DSN(b.plain, "postgres")), b.direct()
	if b.viaProxy {
		hangUp(plain)
		plain = b.connect(b.dsn(b.pg, b.plain, "postgres"))
	}
	defer hangUp(plain)
	defer hangUp(admin)
	pair := c.pair
	if pair == "" {
		pair = likeT
	}
	if !b.older {
		must(t, plain, b.empty(t, b.plain)+c.setup)
		b.distribute(t, plain)
		must(t, admin, b.empty(t, b.db)+"DROP TABLE IF EXISTS relyt_sys.t_relyt_routing; "+c.setup+"; "+pair+"; "+routedGroups+b.after)
		b.distribute(t, admin)
	} else if !b.makeOlder(t, plain, admin, c.setup, pair) {
		return
	}
	own, aux, renamed := strings.Cut(c.column, " ")
	if !renamed {
		aux = own
	}
	routed := b.proxied()
	defer hangUp(routed)
	for i, s := range c.steps {
		want, got := s.run(plain), s.run(routed)
		if c.refused != "" {
			if got.err == nil || got.err.Code != c.refused {
				t.Errorf("%s, step %d: %s, want %s", c.name, i, got, c.refused)
			}
			return
		}
		if b.spread != "" && ofShards(want.err) && ofShards(got.err) {
			// Of which shard's row, in which words, and whether a worker or the
			// coordinator is the first to meet it, depends on the shards.
			want.err, got.err = &pgconn.PgError{Code: "23000"}, &pgconn.PgError{Code: "23000"}
		}
		if w, g := b.describe(want), b.describe(got); w != g {
			t.Errorf("%s, step %d\none table: %s\nrouted:    %s", c.name, i, w, g)
		}
		if w, g := plain.TxStatus(), routed.TxStatus(); w != g {
			t.Errorf("%s, step %d: status %c, want %c", c.name, i, g, w)
		}
	}
	rows := unionOf(t, admin, "SELECT t::text FROM t UNION ALL SELECT a::text FROM t_relyt_massive_group a")
	if want := unionOf(t, plain, "SELECT t::text FROM t"); rows != want {
		t.Errorf("%s: rows are\n%.500s\nwant\n%.500s", c.name, rows, want)
	}
	// Citus joins no distributed table with one that is not; a query with OFFSET it runs by itself.
	wrong := must(t, admin, fmt.Sprintf(`SELECT (SELECT count(*) FROM (SELECT * FROM t OFFSET 0) t WHERE EXISTS (SELECT FROM relyt_sys.t_relyt_routing r WHERE r.routing_id = t.%s::text AND r.store_table_name <> 't'))
		+ (SELECT count(*) FROM (SELECT * FROM t_relyt_massive_group OFFSET 0) t WHERE NOT EXISTS (SELECT FROM relyt_sys.t_relyt_routing r WHERE r.routing_id = t.%s::text AND r.store_table_name <> 't'))`, own, aux))
	if wrong != "0" {
		t.Errorf("%s: %s rows lie where they don't belong", c.name, wrong)
	}
}

func (s routedStep) run(c *pgconn.PgConn) outcome {
	if strings.HasPrefix(s.sql, "COPY") {
		return copyIn(c, s.sql, strings.NewReader(s.data))
	}
	results, err := c.Exec(context.Background(), s.sql).ReadAll()
	if err != nil {
		if e, ok := err.(*pgconn.PgError); ok {
			return outcome{err: e}
		}
		return outcome{lost: err}
	}
	tag := results[0].CommandTag.String()
	for _, row := range results[0].Rows {
		tag += " " + string(bytes.Join(row, []byte("|")))
	}
	return outcome{tag: tag}
}

// describeOutcome is what a client sees, as if there were one table.
func describeOutcome(o outcome) string {
	if o.err == nil {
		return o.String()
	}
	one := func(s string) string { return strings.ReplaceAll(s, "t_relyt_massive_group", "t") }
	e := o.err
	return fmt.Sprintf("%s %s: %s; detail %q hint %q where %q table %q column %q type %q constraint %q",
		e.Severity, e.Code, one(e.Message), one(e.Detail), e.Hint, e.Where, one(e.TableName), e.ColumnName, e.DataTypeName, one(e.ConstraintName))
}

// describe is describeOutcome, without what differs from time to time on a cluster:
// which of its processes has found an error of a key, and how far COPY had come then.
func (b *routedBed) describe(o outcome) string {
	if !b.older {
		return describeOutcome(o)
	}
	return anyLine.ReplaceAllString(anyNode.ReplaceAllString(describeOutcome(o), ""), "")
}

var anyNode, anyLine = regexp.MustCompile(` *\(seg[^()]*pid=\d+\)`), regexp.MustCompile(`COPY t, line \d+"`)

// unionOf is the rows of a query, sorted.
func unionOf(t *testing.T, c *pgconn.PgConn, sql string) string {
	t.Helper()
	results, err := c.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, r := range results[0].Rows {
		rows = append(rows, string(r[0]))
	}
	sort.Strings(rows)
	return strings.Join(rows, "\n")
}
