package proxy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// upsertCase is a COPY with ON_CONFLICT or MODE, and the same by hand: COPY into
// temporary table src, which has the columns of the data as texts say, and then
// the statements of byHand.
type upsertCase struct {
	name   string
	setup  string
	set    string // settings of the session
	src    string // the columns of src
	list   string // the list of columns of the COPY, with its brackets
	option string
	data   string // in text format
	byHand []string
	// textOnly: the data is bad, so that there is no binary form of it.
	textOnly bool
	role     string
}

const upsertSetup = `CREATE TABLE t (id int PRIMARY KEY, note text CHECK (note <> 'forbidden'), n int NOT NULL DEFAULT 7, UNIQUE (note));
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (1000000, 'million', 3)`

const (
	upsertSrc   = "id int, note text"
	upsertList  = "(id, note)"
	byHandPlain = "INSERT INTO t (id, note) SELECT id, note FROM src"
	doUpdate    = byHandPlain + " ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.note"
	doNothing   = byHandPlain + " ON CONFLICT (id) DO NOTHING"
)

// upsertRows are n rows for upsertSrc, of which the first two exist.
func upsertRows(n int) string {
	return string(generate(n, func(i int) string {
		return fmt.Sprintf("%d\tnote %d, long enough to fill some files of a load\n", i+1, i+1)
	}))
}

func plainUpsert(name, option, data string, byHand ...string) upsertCase {
	return upsertCase{name: name, setup: upsertSetup, src: upsertSrc, list: upsertList, option: option, data: data, byHand: byHand}
}

func badUpsert(c upsertCase) upsertCase { c.textOnly = true; return c }

func changed(c upsertCase, change func(*upsertCase)) upsertCase { change(&c); return c }

// lastByHand is an upsert of the last row of each key.
const lastByHand = "INSERT INTO t (id, note) SELECT id, note FROM src s WHERE NOT EXISTS (SELECT FROM src l WHERE l.id = s.id AND l.ctid > s.ctid) ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.note"

// compatByHand is the original loader's upsert, with the order that it left open.
const compatByHand = "INSERT INTO t (id, note) SELECT DISTINCT ON (id) id, note FROM src WHERE id IS NOT NULL ORDER BY id, ctid ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.note"

// upsertCases are all of them.
func upsertCases() []upsertCase {
	many := upsertRows(5000)
	return slices.Concat(upserts(many), overwrites(many), upsertTables(many), merges())
}

func upserts(many string) []upsertCase {
	again := many + "4999\tonce more\n" // in another file than the first
	return []upsertCase{
		plainUpsert("update", "ON_CONFLICT update", many, doUpdate),
		plainUpsert("nothing", "ON_CONFLICT nothing", many, doNothing),
		plainUpsert("mode upsert", "MODE upsert", many, doUpdate),
		plainUpsert("append", "MODE append", "7\tseven\n", byHandPlain),
		changed(plainUpsert("by setting", "FORMAT text", many, doUpdate), func(c *upsertCase) { c.set = "SET pgbulk.on_conflict = 'update'" }),
		changed(plainUpsert("setting overruled", "ON_CONFLICT nothing", many, doNothing), func(c *upsertCase) { c.set = "SET pgbulk.on_conflict = 'update'" }),
		plainUpsert("nothing to load", "ON_CONFLICT update", "", doUpdate),
		plainUpsert("twice in the data", "ON_CONFLICT update", again, doUpdate),
		plainUpsert("twice in one file", "ON_CONFLICT update", "5\ta\n5\tb\n", doUpdate),
		plainUpsert("twice, nothing", "ON_CONFLICT nothing", again, doNothing),
		plainUpsert("last wins", "ON_CONFLICT update, LAST_WINS", again+"5\ta\n5\tb\n", lastByHand),
		plainUpsert("last wins of nothing", "ON_CONFLICT nothing, LAST_WINS", again, strings.Replace(lastByHand, "DO UPDATE SET note = EXCLUDED.note", "DO NOTHING", 1)),
		plainUpsert("compat", "COMPAT relyt", again+"5\ta\n5\tb\n\\N\tx\n\\N\ty\n", compatByHand),
		plainUpsert("compat of nothing", "COMPAT relyt, ON_CONFLICT nothing", again+"\\N\tx\n", strings.Replace(compatByHand, "DO UPDATE SET note = EXCLUDED.note", "DO NOTHING", 1)),
		plainUpsert("null key", "ON_CONFLICT update", many+"\\N\tnull\n", doUpdate),
		plainUpsert("null key, last wins", "ON_CONFLICT update, LAST_WINS", "3\ta\n\\N\tx\n\\N\ty\n", doUpdate),
		plainUpsert("another key", "ON_CONFLICT update", "9\tone\n", doUpdate),
		plainUpsert("by another key", "ON_CONFLICT update, CONFLICT_TARGET (note)", "9\tone\n10\tten\n", byHandPlain+" ON CONFLICT (note) DO UPDATE SET id = EXCLUDED.id"),
		plainUpsert("nulls are no duplicates", "ON_CONFLICT update, CONFLICT_TARGET (note), LAST_WINS", "9\t\\N\n10\t\\N\n11\tone\n12\tone\n",
			"INSERT INTO t (id, note) SELECT id, note FROM src WHERE id <> 11 ON CONFLICT (note) DO UPDATE SET id = EXCLUDED.id"),
		plainUpsert("check", "ON_CONFLICT update", many+"6000\tforbidden\n", doUpdate),
		plainUpsert("no such target", "ON_CONFLICT update, CONFLICT_TARGET (n)", many, byHandPlain+" ON CONFLICT (n) DO UPDATE SET note = EXCLUDED.note"),
		badUpsert(plainUpsert("bad integer", "ON_CONFLICT update", many+"x\ty\n", doUpdate)),
		badUpsert(plainUpsert("too many columns", "MODE upsert", many+"1\ty\tz\n", doUpdate)),
		changed(plainUpsert("no key", "ON_CONFLICT update", many, byHandPlain+" ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.note"), func(c *upsertCase) {
			c.setup = "CREATE TABLE t (id int, note text)"
		}),
	}
}

// overwrites are those of MODE overwrite, and what a role may do.
func overwrites(many string) []upsertCase {
	again := many + "4999\tonce more\n"
	return []upsertCase{
		plainUpsert("overwrite", "MODE overwrite", many, "TRUNCATE t", byHandPlain),
		plainUpsert("overwrite with nothing", "MODE overwrite", "", "TRUNCATE t", byHandPlain),
		plainUpsert("overwrite, twice in the data", "MODE overwrite, ON_CONFLICT nothing", again, "TRUNCATE t", doNothing),
		changed(plainUpsert("overwrite without TRUNCATE", "MODE overwrite", many, "DELETE FROM t", byHandPlain), func(c *upsertCase) {
			c.role, c.setup = "loader", upsertSetup+"; GRANT INSERT, SELECT, DELETE ON t TO loader"
		}),
		changed(plainUpsert("overwrite without a right to", "MODE overwrite", many, "TRUNCATE t"), func(c *upsertCase) {
			c.role, c.setup = "loader", upsertSetup+"; GRANT INSERT, SELECT ON t TO loader"
		}),
		changed(plainUpsert("update without a right to", "MODE upsert", many, doUpdate), func(c *upsertCase) {
			c.role, c.setup = "loader", upsertSetup+"; GRANT INSERT, SELECT ON t TO loader"
		}),
		changed(plainUpsert("overwrite what is referenced", "MODE overwrite", many, "TRUNCATE t"), func(c *upsertCase) {
			c.setup = upsertSetup + "; CREATE TABLE child (id int REFERENCES t)"
		}),
	}
}

// upsertTables are tables of all sorts.
func upsertTables(many string) []upsertCase {
	return []upsertCase{
		{
			name: "only a key", setup: "CREATE TABLE t (a int, b int, PRIMARY KEY (b, a)); INSERT INTO t VALUES (1, 1)", src: "a int, b int", option: "MODE upsert",
			data: "1\t1\n1\t2\n", byHand: []string{"INSERT INTO t SELECT * FROM src ON CONFLICT (a, b) DO UPDATE SET a = EXCLUDED.a"},
		},
		{
			name: "identity and generated", src: "id int, v int", list: "(id, v)", option: "MODE upsert", data: "1\t5\n20\t6\n",
			setup:  "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO t (v) VALUES (1), (2)",
			byHand: []string{"INSERT INTO t (id, v) OVERRIDING SYSTEM VALUE SELECT id, v FROM src ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v"},
		},
		{
			name: "quoted names", setup: `CREATE TABLE "T ""x" ("Id é" text COLLATE "C" PRIMARY KEY, "a b" varchar(3), pgbulkproxy_row int); CREATE VIEW t AS TABLE "T ""x"`,
			src: `"Id é" text COLLATE "C", "a b" varchar(3), pgbulkproxy_row int`, list: `TABLE "T ""x"`, option: `ON_CONFLICT update, LAST_WINS, CONFLICT_TARGET "Id é"`,
			data:   "k\tabc\t1\nk\tdef\t2\nl\tx\t3\n",
			byHand: []string{`INSERT INTO "T ""x" SELECT * FROM src WHERE pgbulkproxy_row > 1`},
		},
		{
			name: "partitions and triggers", src: upsertSrc, list: upsertList, option: "ON_CONFLICT update", data: many,
			setup: `CREATE TABLE t (id int PRIMARY KEY, note text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (2000);
				CREATE TABLE t2 PARTITION OF t DEFAULT; INSERT INTO t VALUES (1, 'a'), (3000, 'b'); CREATE TABLE IF NOT EXISTS seen (what text);
				CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (TG_OP || TG_WHEN); RAISE NOTICE '%', TG_OP; RETURN NULL; END $$;
				CREATE TRIGGER a AFTER INSERT OR UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION see()`,
			byHand: []string{doUpdate},
		},
		{
			name: "partial and expression keys", src: upsertSrc, list: upsertList, option: "ON_CONFLICT update, CONFLICT_TARGET (id)", data: "1\tx\n",
			setup:  "CREATE TABLE t (id int, note text); CREATE UNIQUE INDEX ON t (id) WHERE id > 0; CREATE UNIQUE INDEX ON t ((id + 0))",
			byHand: []string{doUpdate},
		},
		{
			name: "deferrable key", src: upsertSrc, list: upsertList, option: "ON_CONFLICT update", data: "1\tx\n",
			setup:  "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, note text)",
			byHand: []string{doUpdate},
		},
	}
}

func merges() []upsertCase {
	return []upsertCase{
		{
			name: "merge", setup: upsertSetup + "; INSERT INTO t VALUES (3, 'three', 3), (4, 'four', 4)", src: "id int, op text, note text", list: "(id, op, note)",
			option: "MODE merge, OPERATION_COLUMN op",
			data: "1\tu\tONE\n2\tDelete\t\\N\n5\tI\tfive\n6\tinsert\tsix\n6\tD\tx\n3\td\ty\n3\tUPDATE\tTHREE\n" +
				string(generate(5000, func(i int) string { return fmt.Sprintf("%d\tI\tnote %d, long enough to fill some files\n", i+10, i) })) + "10\tD\t\\N\n",
			byHand: []string{
				"DELETE FROM t WHERE id = 2",
				"INSERT INTO t (id, note) SELECT id, note FROM src WHERE op IN ('u', 'UPDATE', 'I') AND id <> 10 ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.note",
			},
		},
		{
			name: "merge with the operation behind all columns", setup: "CREATE TABLE t (b text, a text PRIMARY KEY); INSERT INTO t VALUES ('x', 'k')", src: "b text, a text, what text",
			option: "MODE merge, OPERATION_COLUMN what", data: "y\tl\tI\nz\tk\tD\n",
			byHand: []string{"DELETE FROM t WHERE a = 'k'", "INSERT INTO t VALUES ('y', 'l')"},
		},
	}
}

func (c *upsertCase) copySQL(table, format string) string {
	options := c.option
	if !strings.Contains(options, "FORMAT") {
		options += ", FORMAT " + format
	}
	list := c.list
	if rest, ok := strings.CutPrefix(list, "TABLE "); ok {
		table, list = rest, ""
	}
	return fmt.Sprintf("COPY %s %s FROM STDIN (%s)", table, list, options)
}

// encoded returns the data in a format, by the server's own COPY TO.
func (c *upsertCase) encoded(t *testing.T, conn *pgconn.PgConn, format string) []byte {
	t.Helper()
	if format == "text" || strings.Contains(c.option, "FORMAT") {
		return []byte(c.data)
	}
	if c.textOnly {
		return []byte(strings.ReplaceAll(c.data, "\t", ","))
	}
	must(t, conn, "CREATE TEMP TABLE src ("+c.src+")")
	defer must(t, conn, "DROP TABLE src")
	if o := copyIn(conn, "COPY src FROM STDIN", strings.NewReader(c.data)); o.err != nil {
		t.Fatal(o)
	}
	var out bytes.Buffer
	if _, err := conn.CopyTo(context.Background(), &out, "COPY src TO STDOUT (FORMAT "+format+")"); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// byHandOutcome does by hand what the COPY is to do, and undoes it: it returns
// the rows of the table, the tag and the error.
func (c *upsertCase) byHandOutcome(t *testing.T, conn *pgconn.PgConn, format string, data []byte) (rows string, o outcome) {
	t.Helper()
	must(t, conn, "BEGIN; CREATE TEMP TABLE src ("+c.src+"); GRANT ALL ON src TO PUBLIC; "+c.asRole())
	defer must(t, conn, "ROLLBACK; RESET ROLE")
	if o = copyIn(conn, "COPY src FROM STDIN (FORMAT "+format+")", bytes.NewReader(data)); o.err != nil {
		o.err.Where = strings.Replace(o.err.Where, "COPY src,", "COPY t,", 1)
		return "", o
	}
	n := int64(0)
	for _, sql := range c.byHand {
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			return "", outcome{err: asPgError(t, err)}
		}
		if tag := results[0].CommandTag; tag.Insert() || strings.HasPrefix(c.name, "merge") && tag.Delete() {
			n += tag.RowsAffected()
		}
	}
	o.tag = fmt.Sprintf("COPY %d", n)
	return must(t, conn, fingerprint), o
}

func asPgError(t *testing.T, err error) *pgconn.PgError {
	t.Helper()
	e, ok := err.(*pgconn.PgError)
	if !ok {
		t.Fatal(err)
	}
	return e
}

func (c *upsertCase) asRole() string {
	if c.role == "" {
		return "SET ROLE NONE"
	}
	return "SET ROLE " + c.role
}

// sameError compares what a client can see of two errors but the place in the
// statement.
func sameError(a, b *pgconn.PgError) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Code == b.Code && a.Message == b.Message && a.Detail == b.Detail && a.Where == b.Where &&
		a.TableName == b.TableName && a.ColumnName == b.ColumnName && a.ConstraintName == b.ConstraintName
}

const dropAll = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC; "

// TestUpsertAsByHand: rows, counts and errors are those of COPY into a temporary
// table and an INSERT … ON CONFLICT by hand.
func TestUpsertAsByHand(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { c.Engine = engine })
			direct := b.direct()
			must(t, direct, "DO $$ BEGIN CREATE ROLE loader; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$")
			for i, c := range upsertCases() {
				for j, format := range []string{"text", "csv", "binary"} {
					if c.textOnly && format == "binary" {
						continue
					}
					block := []string{"", "BEGIN"}[(i+j)%2]
					b.upsert(t, direct, c, format, block)
				}
			}
			b.wantSwept()
		})
	}
}

func (b *bed) upsert(t *testing.T, direct *pgconn.PgConn, c upsertCase, format, block string) {
	t.Helper()
	if strings.Contains(c.option, "FORMAT") {
		format = "text"
	}
	must(t, direct, dropAll+c.setup)
	data := c.encoded(t, direct, format)
	rows, want := c.byHandOutcome(t, direct, format, data)
	before := must(t, direct, fingerprint)
	conn := b.proxied()
	defer hangUp(conn)
	must(t, conn, c.asRole()+"; "+c.set+"; "+block)
	got := copyIn(conn, c.copySQL("t", format), bytes.NewReader(data))
	name := fmt.Sprintf("%s, %s, %q", c.name, format, block)
	if got.tag != want.tag && got.err == nil || !sameError(got.err, want.err) || got.lost != nil {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
	status := byte('I')
	if block != "" {
		status = 'T'
		if want.err != nil {
			status = 'E'
		}
	}
	if conn.TxStatus() != status {
		t.Errorf("%s: status %c, want %c", name, conn.TxStatus(), status)
	}
	if want.err != nil {
		rows = before
	}
	must(t, conn, "COMMIT")
	if after := must(t, direct, fingerprint); after != rows {
		t.Errorf("%s: table has %s, want %s", name, after, rows)
	}
	if left := must(t, direct, "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgbulkproxy%' OR relname LIKE 'f\\_%-%'"); left != "0" {
		t.Errorf("%s: %s tables are left", name, left)
	}
}
