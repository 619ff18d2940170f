package values

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// oracleSessions are settings with what they mean to the lexer.
var oracleSessions = []struct {
	set  string
	opts Options
}{
	{"SET standard_conforming_strings = on", Options{StandardStrings: true, UTF8: true}},
	{"SET standard_conforming_strings = off; SET escape_string_warning = off", Options{UTF8: true}},
	{"SET backslash_quote = off", Options{StandardStrings: true, UTF8: true}},
	{"SET client_encoding = LATIN1", Options{StandardStrings: true}},
}

// TestOracleCells asks a real server about every constant that the lexer takes:
// its value is the cell's text, in each kind of session.
func TestOracleCells(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	for _, session := range oracleSessions {
		conn := pg.Connect(t, db, "postgres").PgConn()
		ask(t, conn, session.set)
		var cells []string
		for _, test := range accepted {
			cells = append(cells, test.cell)
		}
		for _, test := range refused {
			cells = append(cells, test.cell)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			cells = append(cells, randomConstant(rng))
		}
		taken := 0
		for _, cell := range cells {
			if oracleCell(t, conn, cell, session.opts) {
				taken++
			}
		}
		if taken < 400 {
			t.Errorf("%s: only %d constants were taken", session.set, taken)
		}
	}
}

// oracleCell says whether the lexer takes a cell that the server can be asked
// about.
func oracleCell(t *testing.T, conn *pgconn.PgConn, cell string, opts Options) bool {
	t.Helper()
	l := New([]byte("("+cell+")"), 0, opts)
	cells, err := l.Row(nil)
	if err != nil || len(cells) != 1 || strings.IndexByte(cell, 0) >= 0 {
		return false
	}
	c := cells[0]
	want := string(c.Text)
	// A comment at the end of the cell must not hide what stands behind it.
	query := "SELECT (" + cell + "\n)::text"
	switch {
	case c.Cast != nil, c.Kind == Param, c.Kind == Default:
		return false
	case c.Kind == Decimal:
		query = "SELECT ((" + cell + "\n) = '" + want + "'::numeric AND pg_typeof(" + cell + "\n) = 'numeric'::regtype)::text"
		want = "true"
	case c.Kind == Null:
		want = "NULL"
	case c.Kind == True:
		want = "true"
	case c.Kind == False:
		want = "false"
	}
	got := ask(t, conn, query)
	if c.Kind == Decimal && strings.HasSuffix(got, "(SQLSTATE 22003)") {
		return false // a number, but larger than any
	}
	if got != want {
		t.Errorf("%q: %q, the server says %q", cell, want, got)
	}
	return true
}

// TestOracleWords: no word of the server's grammar, or none of this program's
// tables, makes the lexer take for a type what the server does not.
func TestOracleWords(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := pg.Connect(t, pg.NewDatabase(t), "postgres").PgConn()
	words := strings.Fields(ask(t, conn, "SELECT string_agg(word, ' ') FROM pg_get_keywords()"))
	words = append(words, "int4", "text", "json", "xml", "uuid", "mood")
	taken := 0
	for _, w := range words {
		for _, form := range []string{
			"'x'::%", "'x'::%[]", "'x'::%(3)", "'x'::%(3,2)", "'x'::% precision", "'x'::% varying", "'x'::% varying(3)", "'x'::% with time zone",
			"'x'::%(3) without time zone", "'x'::%.b", "'x'::a.%", "'x'::a.%(3)", "CAST('x' AS %)", "% 'x'", "% (3) 'x'", "% varying(3) 'x'", "% with time zone 'x'", "%.b 'x'", "a.% 'x'",
		} {
			cell := strings.ReplaceAll(form, "%", w)
			if _, err := lexOne(cell, standard); err != nil {
				continue
			}
			taken++
			if got := ask(t, conn, "SELECT "+cell); strings.HasPrefix(got, "ERROR: syntax error") {
				t.Errorf("%s: %s", cell, got)
			}
		}
	}
	if taken < 5*len(words) {
		t.Errorf("only %d of %d words' forms were taken", taken, len(words))
	}
}

// ask returns the only value that a query gives, or the error.
func ask(t *testing.T, conn *pgconn.PgConn, query string) string {
	t.Helper()
	results, err := conn.Exec(context.Background(), query).ReadAll()
	var refusal *pgconn.PgError
	switch {
	case errors.As(err, &refusal):
		return refusal.Error()
	case err != nil:
		t.Fatalf("%q: %v", query, err)
	case len(results[0].Rows) == 0:
		return ""
	case results[0].Rows[0][0] == nil:
		return "NULL"
	}
	return string(results[0].Rows[0][0])
}

// randomConstant puts together pieces that mean something in one form or other.
func randomConstant(rng *rand.Rand) string {
	pick := func(s []string) string { return s[rng.IntN(len(s))] }
	pieces := []string{
		"a", "''", `\\`, `\n`, `\1`, `\12`, `\101`, `\x`, `\x4`, `\x41`, `\xc3\xbc`, `\303`, `\274`, `\u00fc`, `\U0001F600`, `\uD83D`, `\uDE00`,
		`\q`, `\`, "ü", "\n", " ", "$", "$$", "$a$", "7", "'\n'", "' \t\r '", "-- ", "/*", `\b\f\r\t`, "\x7f", `\0`, `\'`,
	}
	digits := []string{"0", "1", "9", "00", "12345678901", ".", ".", "e", "E+", "e-", "_"}
	var body strings.Builder
	form := rng.IntN(4)
	for range rng.IntN(7) {
		if form == 3 {
			body.WriteString(pick(digits))
			continue
		}
		body.WriteString(pick(pieces))
	}
	switch form {
	case 0:
		return "'" + body.String() + "'"
	case 1:
		return pick([]string{"E", "e"}) + "'" + body.String() + "'"
	case 2:
		tag := pick([]string{"$$", "$a$", "$ü_1$"})
		return tag + body.String() + tag
	}
	return pick([]string{"", "-", "+"}) + body.String()
}
