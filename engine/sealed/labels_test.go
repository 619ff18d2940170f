package sealed_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
)

// claim returns the statement that claims a label for a load.
func (d *depot) claim(conn *pgx.Conn, l sealed.Label) string {
	d.t.Helper()
	sql, err := sealed.ClaimLabelSQL(d.session(conn), l, d.key, soon())
	if err != nil {
		d.t.Fatal(err)
	}
	return sql
}

func (d *depot) finish(conn *pgx.Conn, l sealed.Label, records int64) string {
	d.t.Helper()
	sql, err := sealed.FinishLabelSQL(d.session(conn), l, records, d.key, soon())
	if err != nil {
		d.t.Fatal(err)
	}
	return sql
}

func label(text string) sealed.Label {
	return sealed.Label{ProcessID: uuid.NewString(), Schema: "own", Table: "t", Text: text}
}

// wantClaim runs a claim in whatever transaction conn is in.
func (d *depot) wantClaim(conn *pgx.Conn, l sealed.Label, want string) {
	d.t.Helper()
	results, err := conn.PgConn().Exec(d.t.Context(), d.claim(conn, l)).ReadAll()
	if err != nil {
		d.t.Errorf("claim %s: %v", l.Text, err)
		return
	}
	got := "mine"
	if v := results[0].Rows[0][0]; v != nil {
		got = string(v)
	}
	if got != want {
		d.t.Errorf("claim %s: got %s, want %s", l.Text, got, want)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	odd := label(`é日 '"\ label`)
	mustExec(t, d.own, "BEGIN; "+d.claim(d.own, odd)+"; ROLLBACK")
	mustExec(t, d.own, "BEGIN")
	d.wantClaim(d.own, odd, "mine")
	mustExec(t, d.own, d.finish(d.own, odd, 42)+"; COMMIT")
	d.wantClaim(d.own, label(odd.Text), "42")
	elsewhere := label(odd.Text)
	elsewhere.Table = "u"
	d.wantClaim(d.own, elsewhere, "mine")
	if err := exec(t, d.own, d.finish(d.own, label(odd.Text), 7)); code(err) != "55000" {
		t.Errorf("finished the label of another load: %v", err)
	}
	d.wantClaim(d.own, label(odd.Text), "42")
	for _, level := range []string{"REPEATABLE READ", "SERIALIZABLE"} {
		mustExec(t, d.own, "BEGIN ISOLATION LEVEL "+level+"; SELECT 1")
		d.wantClaim(d.own, label(odd.Text), "42")
		d.wantClaim(d.own, label(level), "mine")
		mustExec(t, d.own, "COMMIT")
	}
	if _, err := sealed.ClaimLabelSQL(d.session(d.own), label("caf\xe9"), d.key, soon()); err == nil {
		t.Error("a label that is not UTF-8 is sealed")
	}
}

// TestLabelConcurrently: sessions that claim one label wait for the first; what
// it does decides.
func TestLabelConcurrently(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		text := "l" + end
		mine := label(text)
		mustExec(t, d.own, "BEGIN; "+d.claim(d.own, mine)+"; "+d.finish(d.own, mine, 42))
		conn := d.pg.Connect(t, d.db, d.alice)
		want := map[string]string{"COMMIT": "42", "ROLLBACK": "mine"}[end]
		mustExec(t, conn, "BEGIN")
		var g errgroup.Group
		g.Go(func() error { d.wantClaim(conn, label(text), want); return nil })
		strict := d.pg.Connect(t, d.db, d.alice)
		mustExec(t, strict, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
		if end == "COMMIT" {
			sql := d.claim(strict, label(text))
			g.Go(func() error {
				if err := exec(t, strict, sql); code(err) != "40001" {
					return fmt.Errorf("a snapshot from before: %w", err)
				}
				return nil
			})
		}
		d.awaitWaiter("transactionid", map[string]int{"COMMIT": 2, "ROLLBACK": 1}[end])
		mustExec(t, d.own, end)
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// TestLabelOfStagedLoad: a label is that of its load until the load is cancelled.
func TestLabelOfStagedLoad(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	l := d.staged(d.own, "t", "1\tx\n")
	mine := label("x")
	mine.ProcessID = l.ProcessID
	mustExec(t, d.own, "BEGIN; "+d.claim(d.own, mine)+"; "+d.finish(d.own, mine, 1)+"; "+d.stageSQL(d.own, l)+"; COMMIT")
	d.wantClaim(d.own, label("x"), "1")
	if _, err := d.ledger.Fail(t.Context(), first(l), checkpoint.Failure{Message: "no", SQLState: "23502", Retry: -1}); err != nil {
		t.Fatal(err)
	}
	if err := exec(t, d.own, d.claim(d.own, label("x"))); code(err) != "55000" || !strings.Contains(err.Error(), l.ProcessID) {
		t.Errorf("the label of a load that failed: %v", err)
	}
	if err := exec(t, d.own, "SELECT pgbulk.flush()"); code(err) != "23502" {
		t.Errorf("flush: %v", err)
	}
	if _, err := d.ledger.Cancel(t.Context(), l.ProcessID); err != nil {
		t.Fatal(err)
	}
	d.wantClaim(d.own, label("x"), "mine")
}

func TestRejects(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	bob := d.pg.Connect(t, d.db, d.pg.NewRole(t, ""))
	id := uuid.NewString()
	rows := []sealed.Reject{
		{Line: 7, Column: `b "é`, SQLState: "22P02", Message: "invalid input syntax: \"日\"", Raw: []byte("caf\xe9\t\x00'\\N😀")},
		{Line: 9_000_000_000, SQLState: "23505", Message: "duplicate", Raw: []byte(strings.Repeat("x", 100_000))},
	}
	sql, err := sealed.RejectsSQL(d.session(d.own), id, "own", "t", rows, true, d.key, soon())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"other rows":  strings.Replace(sql, `"line":7`, `"line":8`, 1),
		"null rows":   sql[:strings.LastIndex(sql, ", E'")] + ", NULL)",
		"other table": strings.Replace(sql, `"table":"t"`, `"table":"u"`, 1),
	} {
		if err := exec(t, d.own, bad); code(err) != "42501" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := exec(t, bob, sql); code(err) != "42501" {
		t.Errorf("by another session: %v", err)
	}
	mustExec(t, d.own, "SET standard_conforming_strings = off; BEGIN; "+sql+"; ROLLBACK; BEGIN; "+sql+"; COMMIT")
	const list = "SELECT concat_ws('|', pg_table, line, column_name, sqlstate, message, left(raw_line, 30), length(raw_line)) FROM relyt_sys.relyt_loader_rejects WHERE process_id = '%s' ORDER BY line"
	got, err := pgx.CollectRows(must(d.own.Query(t.Context(), fmt.Sprintf(list, id))), pgx.RowTo[string])
	want := []string{`own.t|7|b "é|22P02|invalid input syntax: "日"|caf\xE9` + "\t" + `\x00'\N😀|16`, "own.t|9000000000|23505|duplicate|" + strings.Repeat("x", 30) + "|16384"}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	var n int
	if err := bob.QueryRow(t.Context(), "SELECT count(*) FROM relyt_sys.relyt_loader_rejects").Scan(&n); err != nil || n != 0 {
		t.Errorf("another role sees %d, %v", n, err)
	}
	sql, err = sealed.RejectsSQL(d.session(d.own), id, "own", "t", rows[:1], false, d.key, soon())
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(sql, func(r rune) bool { return r > 126 }); i >= 0 || strings.Contains(sql, `\u`) {
		t.Errorf("for a database of another encoding: %s", sql)
	}
	mustExec(t, d.own, sql)
}

func must(rows pgx.Rows, _ error) pgx.Rows { return rows }
