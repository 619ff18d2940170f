package rewrite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

const oracleTables = `CREATE TABLE t (a text, b text, c text, "Mixed Case" text);
CREATE TABLE "user" (a text, b text); CREATE TABLE name (a text); CREATE TABLE größe (a text, b text);
CREATE SCHEMA s; CREATE TABLE s."Odd ""table" (a text, b text, c text);
CREATE TABLE abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk (a text, b text)`

// errStop ends a COPY that was only sent to see whether the server takes it.
var errStop = errors.New("stop")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errStop }

// serverTakes says whether the server answers the statement by asking for data.
func serverTakes(t *testing.T, conn *pgconn.PgConn, sql string) bool {
	t.Helper()
	_, err := conn.CopyFrom(context.Background(), failingReader{}, sql)
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		t.Fatalf("%s: %v", sql, err)
	}
	return e.Code == "57014"
}

// TestOracle holds every statement of the golden files against a real server:
// what is accepted and classified as ours, the server must take, its native
// text too, and both must load the same rows, also in two parts.
func TestOracle(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := connect(t, pg, pg.NewDatabase(t), "postgres")
	run(t, conn, oracleTables)
	taken := 0
	datadriven.Walk(t, goldenDir, func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "parse" && oracle(t, conn, d.Input) {
				taken++
			}
			return d.Expected
		})
	})
	if taken < 80 {
		t.Errorf("only %d statements reached the server as ours", taken)
	}
}

func oracle(t *testing.T, conn *pgconn.PgConn, sql string) bool {
	c, reason, refusal := ParseCopy(sql, 1<<16)
	if (c == nil) == (reason == ReasonNone) || (refusal != nil) != (reason == ReasonUnsupportedOption) {
		t.Errorf("%s: %v %s %v", sql, c, reason, refusal)
	}
	if c == nil {
		return false
	}
	in := inspect(t, conn, c)
	d := Classify(c, in, Caps{External: true})
	if d.Way != Stage {
		return false
	}
	if d.Ext.IgnoreErrors {
		c = c.WithoutErrors()
	}
	if d.Ext.Asked() {
		sql = c.Native(in, false) // the server has never heard of what is ours
	}
	if !serverTakes(t, conn, sql) {
		t.Errorf("%s: the server refuses it", sql)
		return false
	}
	for _, cont := range []bool{false, true} {
		if native := c.Native(in, cont); !serverTakes(t, conn, native) {
			t.Errorf("%s: the server refuses its native text %s", sql, native)
			return false
		}
	}
	whole := encodeRows(c, in, sampleRows, true)
	want := load(t, conn, in, part{sql, whole})
	if len(want) == 0 && !c.Where {
		t.Errorf("%s: no rows", sql)
	}
	if got := load(t, conn, in, part{c.Native(in, false), whole}); !slices.Equal(got, want) {
		t.Errorf("%s\nby %s:\n got %q\nwant %q", sql, c.Native(in, false), got, want)
	}
	got := load(t, conn, in,
		part{c.Native(in, false), encodeRows(c, in, sampleRows[:2], true)},
		part{c.Native(in, true), encodeRows(c, in, sampleRows[2:], false)})
	if !slices.Equal(got, want) {
		t.Errorf("%s in two parts:\n got %q\nwant %q", sql, got, want)
	}
	return true
}

type part struct {
	sql  string
	data []byte
}

// load runs the parts in a transaction, reads the table and rolls back.
func load(t *testing.T, conn *pgconn.PgConn, in *Inspection, parts ...part) []string {
	t.Helper()
	run(t, conn, "BEGIN")
	defer run(t, conn, "ROLLBACK")
	for _, p := range parts {
		if _, err := conn.CopyFrom(context.Background(), bytes.NewReader(p.data), p.sql); err != nil {
			t.Errorf("%s with %q: %v", p.sql, p.data, err)
		}
	}
	rows := run(t, conn, "SELECT row_to_json(x) FROM "+pgident.Qualified(in.Schema, in.Table)+" x")
	slices.Sort(rows) // rows may fill the space of those rolled back, in any order
	return rows
}

// null stands for NULL in sampleRows; sampleRows have what escaping is for.
const null = "\x00"

var sampleRows = [][]string{
	{"1", "plain", null, ""},
	{"2", `quote " and ' and ^`, `back\slash and \N`, "tab\tand, comma; | space"},
	{"3", null, "null", "NULL"},
	{"x", "line\nend", "N", "5"},
	{"yy", "", "nil", "!"},
}

// encodeRows writes rows as the statement's options want them; a header line
// comes first where head is set and the statement has one.
func encodeRows(c *CopyStatement, in *Inspection, rows [][]string, head bool) []byte {
	var b []byte
	if c.Format == FormatBinary {
		b = append(b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	}
	if head && c.Header {
		b = appendRow(b, c, in.Columns)
	}
	for _, row := range rows {
		cells := make([]string, len(in.Columns))
		for i := range cells {
			cells[i] = row[i%len(row)]
		}
		b = appendRow(b, c, cells)
	}
	return b
}

func appendRow(b []byte, c *CopyStatement, cells []string) []byte {
	if c.Format == FormatBinary {
		b = binary.BigEndian.AppendUint16(b, uint16(len(cells)))
		for _, cell := range cells {
			if cell == null {
				b = binary.BigEndian.AppendUint32(b, 0xffffffff)
				continue
			}
			b = binary.BigEndian.AppendUint32(b, uint32(len(cell)))
			b = append(b, cell...)
		}
		return b
	}
	for i, cell := range cells {
		if i > 0 {
			b = append(b, c.Delimiter)
		}
		switch {
		case cell == null:
			b = append(b, c.Null...)
		case c.Format == FormatCSV:
			b = appendQuoted(b, c, cell)
		default:
			b = appendEscaped(b, c, cell)
		}
	}
	return append(b, '\n')
}

func appendQuoted(b []byte, c *CopyStatement, cell string) []byte {
	b = append(b, c.Quote)
	for i := range len(cell) {
		if cell[i] == c.Quote || cell[i] == c.Escape {
			b = append(b, c.Escape)
		}
		b = append(b, cell[i])
	}
	return append(b, c.Quote)
}

func appendEscaped(b []byte, c *CopyStatement, cell string) []byte {
	for i := range len(cell) {
		switch cell[i] {
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		case '\\', c.Delimiter:
			b = append(b, '\\', cell[i])
		default:
			b = append(b, cell[i])
		}
	}
	return b
}

// TestOracleStrings: with standard_conforming_strings off the server reads the
// same text otherwise; then nothing with a backslash is ours.
func TestOracleStrings(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := connect(t, pg, pg.NewDatabase(t), "postgres")
	run(t, conn, oracleTables+"; SET standard_conforming_strings = off; SET escape_string_warning = off")
	param := conn.ParameterStatus
	for _, sql := range []string{
		`COPY t FROM STDIN (NULL '\\N')`, `COPY t FROM STDIN (FORMAT csv, DELIMITER '\')`,
		`COPY U&"\0074" FROM STDIN`, `COPY t FROM STDIN WHERE b = '\''`,
	} {
		c, _, _ := ParseCopy(sql, 1<<16)
		if c == nil {
			continue
		}
		if c.Inspectable(param) != ReasonStringSyntax {
			t.Errorf("%s: inspectable", sql)
		}
		if d := Classify(c, inspect(t, conn, c), Caps{}); d.Way != Pass || d.Reason != ReasonStringSyntax {
			t.Errorf("%s: %v", sql, d)
		}
	}
	c := mustParse(t, "COPY t FROM STDIN (FORMAT csv, QUOTE '!')")
	in := inspect(t, conn, c)
	if c.Inspectable(param) != ReasonNone || Classify(c, in, Caps{}).Way != Stage || !serverTakes(t, conn, c.Native(in, false)) {
		t.Error("a statement without backslashes is not ours")
	}
	// What we write ourselves means the same whatever the setting is.
	c = mustParse(t, `COPY t FROM STDIN (FORMAT csv, NULL '\N', ESCAPE '\')`)
	run(t, conn, "SET standard_conforming_strings = on")
	native := c.Native(in, false)
	data := encodeRows(c, in, sampleRows, true)
	want := load(t, conn, in, part{native, data})
	run(t, conn, "SET standard_conforming_strings = off")
	if got := load(t, conn, in, part{native, data}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
