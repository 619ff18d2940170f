package transcode

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// oracle compares what a real server stores of text and of what we make of it.
type oracle struct {
	conn     *pgx.Conn
	column   Column
	settings Settings
	format   Format
	// single: values come one by one, and not in lines.
	single bool
	// kind, unless empty, is that of a foreign table by which binary files are read.
	kind string
}

// newOracle makes two tables with a column of the type, after the statements.
func newOracle(t testing.TB, kind string, statements ...string) *oracle {
	t.Helper()
	pg := testenv.Postgres(t)
	o := &oracle{conn: pg.Connect(t, pg.NewDatabase(t), "postgres"), format: Format{Null: `\N`}}
	create := fmt.Sprintf("CREATE TEMP TABLE a (n int, v %s); CREATE TEMP TABLE b (n int, v %[1]s)", kind)
	for _, sql := range append(statements, create) {
		if _, err := o.conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	o.read(t)
	return o
}

// read asks for the type and the settings of the session.
func (o *oracle) read(t testing.TB) {
	t.Helper()
	d := o.describe(t, "'a'::regclass", "v")
	o.column, o.settings = d.Columns[0], d.Settings
}

func (o *oracle) describe(t testing.TB, table string, columns ...string) Description {
	t.Helper()
	var row []byte
	if err := o.conn.QueryRow(t.Context(), DescribeSQL(table)).Scan(&row); err != nil {
		t.Fatal(err)
	}
	d, err := Describe(row, columns)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// line writes a row of a value in o's format.
func (o *oracle) line(n int, value string) string {
	if o.format.CSV {
		return fmt.Sprintf("%d,\"%s\"\n", n, strings.ReplaceAll(value, `"`, `""`))
	}
	return fmt.Sprintf("%d\t%s\n", n, textEscaper.Replace(value))
}

var textEscaper = strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

func (o *oracle) options() string {
	if o.format.CSV {
		return `(FORMAT csv, NULL '\N')`
	}
	return "(FORMAT text)"
}

// found is what became of some values.
type found struct{ taken, left, refused int }

// judge compares values that are taken, and returns how many. The values that
// both refuse are few, or this takes long.
func (o *oracle) judge(ctx context.Context, values []string) (f found, err error) {
	tr, err := New([]Column{{Base: oidInt4, Typmod: -1}, o.column}, o.format, o.settings)
	if err != nil {
		return f, err
	}
	var native, rows [][]byte
	for i, v := range values {
		line := []byte(o.line(i, v))
		row, err := o.transcode(tr, i, v, line)
		if err != nil {
			f.left++
			continue
		}
		native, rows = append(native, line), append(rows, row)
	}
	for {
		bad, err := o.compare(ctx, native, rows)
		if bad < 0 || err != nil {
			f.taken = len(native)
			return f, err
		}
		// Natively refused: the binary row alone has to be refused as well.
		if bad, err = o.refused(ctx, bad, native); err != nil {
			return f, err
		}
		no, err := o.refuses(ctx, "(FORMAT binary)", rows[bad])
		if err != nil {
			return f, err
		}
		if !no {
			return f, fmt.Errorf("only text is refused: %q", native[bad])
		}
		f.refused++
		native, rows = append(native[:bad:bad], native[bad+1:]...), append(rows[:bad:bad], rows[bad+1:]...)
	}
}

// transcode makes the row of a value, which line holds.
func (o *oracle) transcode(tr *Transcoder, n int, value string, line []byte) ([]byte, error) {
	if o.single {
		return tr.AppendRow(nil, [][]byte{strconv.AppendInt(nil, int64(n), 10), []byte(value)})
	}
	row, rows, err := tr.Append(nil, line)
	if err == nil && rows != 1 {
		panic(fmt.Sprintf("%q: %d rows", line, rows))
	}
	return row, err
}

var contextLine = regexp.MustCompile(`COPY \w+, line (\d+)`)

// load copies rows into a table; bad is the row that the server refuses, or -1.
func (o *oracle) load(ctx context.Context, table, options string, rows [][]byte) (bad int, err error) {
	data := bytes.Join(rows, nil)
	if options == "(FORMAT binary)" {
		data = []byte(Header + string(data) + Trailer)
	}
	if table == "b" && o.kind != "" {
		_, err = o.conn.PgConn().Exec(ctx, fmt.Sprintf(`CREATE FOREIGN TABLE f (n int, v %s) SERVER files OPTIONS (format 'binary',
			program 'echo %s | base64 -d'); INSERT INTO b SELECT * FROM f; DROP FOREIGN TABLE f`, o.kind, base64.StdEncoding.EncodeToString(data))).ReadAll()
	} else {
		_, err = o.conn.PgConn().CopyFrom(ctx, bytes.NewReader(data), "COPY "+table+" FROM STDIN "+options)
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return -1, err
	}
	if m := contextLine.FindStringSubmatch(pgErr.Where); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n - 1, err
	}
	return -1, err
}

// refuses says whether the server refuses these rows, and leaves nothing behind.
func (o *oracle) refuses(ctx context.Context, options string, rows ...[]byte) (bool, error) {
	tx, err := o.conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	_, err = o.load(ctx, "a", options, rows)
	return err != nil, tx.Rollback(ctx)
}

// refused returns the first row that the server refuses, which it said is that
// on a line: a csv value may have lines of its own.
func (o *oracle) refused(ctx context.Context, line int, native [][]byte) (bad int, err error) {
	if !o.format.CSV {
		return line, nil
	}
	for i := range native {
		if no, err := o.refuses(ctx, o.options(), native[i]); no || err != nil {
			return i, err
		}
	}
	return -1, fmt.Errorf("no row alone is refused of %q", native)
}

// compare loads both and compares what is stored. bad is a row that the server
// refuses natively, or -1.
func (o *oracle) compare(ctx context.Context, native, rows [][]byte) (bad int, err error) {
	tx, err := o.conn.Begin(ctx)
	if err != nil {
		return -1, err
	}
	defer tx.Rollback(ctx)
	if bad, err := o.load(ctx, "a", o.options(), native); err != nil {
		if bad < 0 {
			return -1, fmt.Errorf("load text: %w", err)
		}
		return bad, nil
	}
	if bad, err := o.load(ctx, "b", "(FORMAT binary)", rows); err != nil {
		if bad < 0 {
			return -1, fmt.Errorf("load binary: %w", err)
		}
		return -1, fmt.Errorf("only binary is refused: %q: %q: %w", native[bad], rows[bad], err)
	}
	a, err := o.stored(ctx, "a")
	if err != nil {
		return -1, err
	}
	b, err := o.stored(ctx, "b")
	if err != nil {
		return -1, err
	}
	for i := range native {
		if a[i] != b[i] {
			return -1, fmt.Errorf("%q is stored as %q, transcoded %q", native[i], a[i], b[i])
		}
	}
	return -1, nil
}

// stored returns the rows of a table, in order, in binary.
func (o *oracle) stored(ctx context.Context, table string) (rows []string, err error) {
	var out bytes.Buffer
	if _, err := o.conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT n, v FROM "+table+" ORDER BY n) TO STDOUT (FORMAT binary)"); err != nil {
		return nil, err
	}
	p := out.Bytes()[len(Header):]
	for len(p) > 2 {
		at := 10 // the count of fields and n
		size := int(int32(binary.BigEndian.Uint32(p[at:])))
		at += 4 + max(size, 0)
		rows = append(rows, string(p[:at]))
		p = p[at:]
	}
	return rows, nil
}
