package rewrite

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

func TestExitOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		open bool
		want Exit
	}{
		{"ROLLBACK", false, ExitRollback}, {"rollback to savepoint a;", false, ExitRollback},
		{"/* x */ Abort;", false, ExitRollback}, {"ROLLBACK TO a_long_name", true, ExitRollback},
		{"ROLLBACK", true, ExitNone}, // ROLLBACKS, perhaps
		{"COMMIT", false, ExitCommit}, {" commit work ; ", false, ExitCommit}, {"END TRANSACTION -- done", false, ExitCommit},
		{"COMMIT", true, ExitNone}, {"COMMIT AND CHAIN", false, ExitNone}, {"COMMIT; BEGIN", false, ExitNone},
		{"COMMIT PREPARED 'x'", false, ExitNone}, {"COMMIT WORK AND CHAIN", false, ExitNone},
		{"", false, ExitNone}, {"SAVEPOINT rollback", false, ExitNone}, {"-- ROLLBACK", false, ExitNone}, {"rollbacks", false, ExitNone},
	} {
		if got := ExitOf([]byte(c.text), !c.open); got != c.want {
			t.Errorf("%q: %d, want %d", c.text, got, c.want)
		}
	}
}

func TestMentionsCoalesce(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"SET LOCAL pgbulk.coalesce = 'transaction'": true, "-c pgbulk.coalesce=transaction": true,
		"SELECT coalesce(a, b)": false, "": false, "SET pgbulk.mode = off": false,
	} {
		if got := MentionsCoalesce([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	long := []byte(fmt.Sprintf("%0600d pgbulk.coalesce", 0))
	if MentionsCoalesce(long) {
		t.Error("it looks too far")
	}
}

// TestShapeReadRows: a text is of the shape of another exactly if both parse to the
// same but for their rows.
func TestShapeReadRows(t *testing.T) {
	t.Parallel()
	opts := values.Options{StandardStrings: true, UTF8: true}
	parse := func(sql string) *InsertStatement {
		stmt, reason := ParseInsert([]byte(sql), InsertOptions{MaxBytes: 1 << 20, Values: opts})
		if reason != ReasonNone {
			t.Fatalf("%s: %s", sql, reason)
		}
		return stmt
	}
	first := parse("INSERT INTO t (a, b) VALUES (1, 'a');")
	shape, lexer := first.Shape(), first.Lexer(opts)
	var cells []values.Cell
	for sql, want := range map[string]int{
		"INSERT INTO t (a, b) VALUES (2, E'\\n');": 1, "INSERT INTO t (a, b) VALUES (2, 'b'), (3, NULL);": 2,
		"INSERT INTO t (a, b) VALUES (2, 'b')": -1, "INSERT INTO t (a) VALUES (2);": -1, "INSERT INTO t (a, b) VALUES (2, DEFAULT);": -1,
		"INSERT INTO t (a, b) VALUES (2, $1);": -1, "INSERT INTO t (a, b) VALUES (2, now());": -1, "INSERT INTO t (a, b) VALUES ;": -1,
		"INSERT INTO t (a, b) VALUES (2, 'b') RETURNING a;": -1, "INSERT INTO t (a, b) VALUES (2, 'b'); SELECT 1": -1, "INSERT": -1, "": -1,
	} {
		called := 0
		n, ok := shape.ReadRows([]byte(sql), lexer, &cells, func([]values.Cell) error { called++; return nil })
		if ok != (want > 0) || ok && (n != want || called != want) {
			t.Errorf("%q: %d rows, %v, want %d", sql, n, ok, want)
		}
	}
	stop := errors.New("no more")
	if _, ok := shape.ReadRows([]byte("INSERT INTO t (a, b) VALUES (2, 'b');"), lexer, &cells, func([]values.Cell) error { return stop }); ok {
		t.Error("it goes on behind an error")
	}
}

// BenchmarkCoalesce: what one more INSERT of a run costs before it is encoded, and
// what every other statement costs.
func BenchmarkCoalesce(b *testing.B) {
	opts := values.Options{StandardStrings: true, UTF8: true}
	sql := []byte("INSERT INTO t VALUES (2, 'some text of usual length', NULL, 1.25)")
	stmt, _ := ParseInsert(sql, InsertOptions{MaxBytes: 1 << 20, Values: opts})
	shape, lexer := stmt.Shape(), stmt.Lexer(opts)
	b.Run("insert", func(b *testing.B) {
		b.ReportAllocs()
		var cells []values.Cell
		row := func([]values.Cell) error { return nil }
		for b.Loop() {
			if _, ok := shape.ReadRows(sql, lexer, &cells, row); !ok {
				b.Fatal("not read")
			}
		}
	})
	b.Run("other", func(b *testing.B) {
		b.ReportAllocs()
		query := []byte("SELECT abalance, bid, filler FROM pgbench_accounts WHERE aid = 4711 AND note <> 'pgbulk'")
		for b.Loop() {
			if MentionsCoalesce(query) {
				b.Fatal("mentioned")
			}
		}
	})
}
