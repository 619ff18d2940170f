package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// besideRows are rows like those of the bench, for groups from 1000 on.
func besideRows(n int) string {
	return string(generate(n, func(i int) string {
		return fmt.Sprintf("%d\t%d\tcustomer\t1.5\t2024-01-01\tt\t%030d\n", i, 1000+i, i)
	}))
}

// routedMainAlone are COPYs of rows that are all the main table's: small ones run as
// they are.
func routedMainAlone() []routedCase {
	rows := string(generate(300, func(i int) string {
		return fmt.Sprintf("%d\t%s\tnote %d\n", i, []string{"a", "m", `\N`, `it's "`, "b ", "é"}[i%6], i)
	}))
	csv := "id,group_id,note\r\n1,\"a, \"\"b\"\"\",x\r\n2,,y\r\n3,\"\",\"z\r\n\"\r\n"
	bad := []routedStep{
		loads(fromStdin, rows+"1000\ta\tforbidden\n"), loads(fromStdin, rows+"3\ta\tagain\n"), loads(fromStdin, "x\ta\ty\n"), loads(fromStdin, "1\n"),
		loads(fromStdin, "1\ta\tb\tc\n"), loads(fromStdin, "1\ta\xff\tb\n"), loads(fromStdin, "1\ta\\000\tb\n"), loads(fromStdin, "1\ta\tb\n\\.x\n"), loads(fromStdin+" (FORMAT csv)", "1,\"a"),
	}
	blocks := []routedStep{loads(fromStdin, rows), runs("BEGIN"), loads(fromStdin, "1000\ta\tx\n"), runs("SAVEPOINT a"), bad[0], runs("ROLLBACK TO a"), loads(fromStdin, "1001\tb\tx\n"), loads(fromStdin, "1002\tm\tx\n"), runs("COMMIT")}
	integers := plainRouted("main alone, integers", loads("COPY t FROM STDIN", "8\t1\n 8\t2\n"), loads("COPY t FROM STDIN", "8\t1\nx\t2\n"), loads("COPY t FROM STDIN", "8\t1\n007\t2\n"), loads("COPY t FROM STDIN", "99999999999\t1\n"))
	integers.setup = "CREATE TABLE t (group_id int, n int)"
	domain := plainRouted("main alone, domain", loads("COPY t FROM STDIN", "a\n"), loads("COPY t FROM STDIN", "wrong\n"), loads("COPY t FROM STDIN", "b\n"))
	domain.setup = "CREATE DOMAIN d AS varchar(5) CHECK (VALUE <> 'wrong'); CREATE TABLE t (group_id d)"
	deferred := plainRouted("main alone, deferred", loads("COPY t FROM STDIN", "a\t1\n"), loads("COPY t FROM STDIN", "a\t1\n"), loads("COPY t FROM STDIN", "a\t2\n"))
	deferred.setup = "CREATE TABLE t (group_id text, n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
	return []routedCase{
		integers, domain, deferred, plainRouted("main alone, blocks", blocks...), plainRouted("main alone, errors", bad...),
		plainRouted("main alone, csv", loads(fromStdin+" (FORMAT csv, HEADER)", csv), loads(fromStdin+" (FORMAT csv, FORCE_NULL (group_id))", "7,\"b\",x\n8,\"\",y\n")),
		plainRouted("main alone, latin", runs("SET client_encoding = 'LATIN1'"), loads(fromStdin, "1\tb\xe9\tx\n"), loads(fromStdin, "2\tc\tx\xe9\n"), runs("RESET client_encoding")),
		plainRouted("main alone, serializable", runs("BEGIN ISOLATION LEVEL SERIALIZABLE"), loads(fromStdin, "1\ta\tx\n"), runs("COMMIT"), runs("BEGIN READ ONLY"), loads(fromStdin, "1\ta\tx\n"), runs("COMMIT")),
	}
}

// TestRoutedSmallCopy: a small COPY goes through a temporary table, for which the
// role needs a right, only where it has rows of the auxiliary table; and never to S3.
func TestRoutedSmallCopy(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = 4 * mib })
	c := b.pair(t, "CREATE TABLE t (id int, group_id text)")
	admin, mover := b.direct(), b.direct()
	role := b.pg.NewRole(t, "")
	must(t, admin, "REVOKE TEMPORARY ON DATABASE "+b.db+" FROM PUBLIC; GRANT INSERT, SELECT ON t, t_relyt_massive_group TO "+role)
	must(t, c, "SET SESSION AUTHORIZATION "+role)
	var binary bytes.Buffer
	if _, err := admin.CopyTo(t.Context(), &binary, "COPY (VALUES (1, 'a'), (2, NULL), (3, 'é')) TO STDOUT (FORMAT binary)"); err != nil {
		t.Fatal(err)
	}
	for _, block := range []string{"SELECT 1", "BEGIN"} {
		for sql, data := range map[string]string{
			"COPY t FROM STDIN": "1\ta\n2\t\\N\n3\té\n\\.\n",
			"COPY t (group_id, id) FROM STDIN (FORMAT csv, HEADER)": "group_id,id\n\"a\"\"\",1\n,2\nm,3\n",
			"COPY t FROM STDIN (FORMAT binary)":                     binary.String(),
		} {
			must(t, c, block)
			if o := copyIn(c, sql, strings.NewReader(data)); o.tag != "COPY 3" {
				t.Errorf("%s: %s: %s", block, sql, o)
			}
			if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader("1\ta\n1\tb\n")); o.err == nil || o.err.Code != "42501" {
				t.Errorf("%s: rows of the auxiliary table: %s", block, o)
			}
			must(t, c, "ROLLBACK")
		}
	}
	if got := must(t, admin, "SELECT count(*)::text || (SELECT count(*) FROM t_relyt_massive_group) FROM t"); got != "90" {
		t.Errorf("%s rows in main and auxiliary table", got)
	}
	oid := must(t, admin, "INSERT INTO pgbulk.routing_moving (main, group_id, to_aux) VALUES ('t'::regclass, 'a', true) RETURNING main::oid")
	must(t, mover, "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('a' COLLATE \"C\", "+oid+"))")
	done := make(chan outcome, 1)
	go func() { done <- copyIn(c, "COPY t FROM STDIN", strings.NewReader("1\ta\n")) }()
	b.awaitLock(t, admin)
	must(t, mover, "ROLLBACK")
	if o := <-done; o.tag != "COPY 1" {
		t.Errorf("of a group that stays: %s", o)
	}
	must(t, admin, "GRANT TEMPORARY ON DATABASE "+b.db+" TO PUBLIC")
	if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader("1\ta\n1\tb\n")); o.tag != "COPY 2" {
		t.Error(o)
	}
	b.wantMetric(0, "pgbulk_bytes_total", "leg", "store")
}

// BenchmarkRoutedCopy is a small COPY: into a table without routes beside a routed
// one, into that, and of rows for its auxiliary table.
func BenchmarkRoutedCopy(b *testing.B) {
	bed := newBed(b, Options{}, func(c *config.Config) { c.Stage.MinBytes = 4 * mib })
	admin := bed.direct()
	const columns = " (id bigint, group_id int, customer text, price numeric, ordered_at timestamptz, paid bool, note text)"
	must(b, admin, "CREATE TABLE t"+columns+"; CREATE TABLE u"+columns+";"+knownPair)
	c := bed.proxied()
	if err := awaitSeen(b.Context(), bed.pg.Connect(b, bed.db, "postgres"), "t"); err != nil {
		b.Fatal(err)
	}
	for _, rows := range []int{10, 2000} {
		data := besideRows(rows)
		for _, table := range []string{"u", "t"} {
			for _, block := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/rows=%d/block=%t", table, rows, block), func(b *testing.B) {
					if block {
						must(b, c, "BEGIN")
						defer must(b, c, "COMMIT")
					}
					for b.Loop() {
						if _, err := c.CopyFrom(b.Context(), strings.NewReader(data), "COPY "+table+" FROM STDIN"); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
		must(b, admin, "TRUNCATE t, u")
	}
}
