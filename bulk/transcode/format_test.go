package transcode

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// pieces are what data is made of at random: all that a format gives a meaning.
var pieces = map[bool][]string{
	false: {"a", "b", "1", "\t", "\n", "\n", "|", `\`, `\\`, `\N`, `\n`, `\t`, `\b`, `\x41`, `\xc3\xa9`, `\x4`, `\xg`, `\101`, `\1`, `\303\251`, `\377`, `\8`, `\.`, "\\\n", "\\\t", "\r", "N", "é", "\xc3", "\xa9", "\xc3\\\xa9", ".", `\0`, "NULL", ""},
	true:  {"a", "b", "1", ",", ",", "|", "\n", "\n", `"`, `"`, `""`, `'`, `\`, `\"`, `\'`, `\\`, `\.`, "\r", "\"\n\"", `"a,b"`, "é", "\xc3", "\xa9", "\xc3\"\"\xa9", "\xc3\"\xa9\"", "NULL", "N", `"NULL"`, "", " ", ".", `""""`},
}

// randomFormat is a format, and how COPY names it.
func randomFormat(r *rand.Rand, csv bool) (f Format, force bool, options string) {
	f = Format{CSV: csv, Delimiter: "\t|"[r.IntN(2)], Null: []string{`\N`, "", "NULL", "a", "N", `\1`}[r.IntN(6)]}
	options = "FORMAT text"
	if csv {
		f.Delimiter, f.Quote = ",|"[r.IntN(2)], `"'`[r.IntN(2)]
		f.Escape = []byte{f.Quote, '\\', 'b'}[r.IntN(3)]
		force = r.IntN(3) == 0
		options = fmt.Sprintf(`FORMAT csv, QUOTE E'\x%02x', ESCAPE E'\x%02x'`, f.Quote, f.Escape)
		if force {
			options += ", FORCE_NULL (x, z), FORCE_NOT_NULL (y, z)"
		}
	}
	return f, force, fmt.Sprintf(`(%s, DELIMITER E'\x%02x', NULL '%s')`, options, f.Delimiter, f.Null)
}

// randomData is lines that mostly have three fields.
func randomData(r *rand.Rand, f Format) []byte {
	var b strings.Builder
	all, end := pieces[f.CSV], []string{"\n", "\r\n"}[r.IntN(2)]
	odd := r.IntN(4) == 0 // pieces that mean something to lines as well
	for range 1 + r.IntN(4) {
		for field := range 3 {
			if field > 0 {
				b.WriteByte(f.Delimiter)
			}
			for range r.IntN(4) {
				piece := all[r.IntN(len(all))]
				if f.CSV && r.IntN(2) == 0 {
					piece = string(f.Quote) + piece + string(f.Quote)
				}
				if !odd && (!f.CSV && strings.ContainsAny(piece, "\n\r\t|") || piece == string(f.Delimiter) || !utf8.ValidString(piece)) {
					continue
				}
				b.WriteString(piece)
			}
		}
		b.WriteString(end)
	}
	data := b.String()
	if r.IntN(3) == 0 {
		data = strings.TrimSuffix(data, end)
	}
	return []byte(data)
}

// TestFormats cuts random data into rows and fields as the server does.
func TestFormats(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := pg.Connect(t, pg.NewDatabase(t), "postgres")
	if _, err := conn.Exec(t.Context(), "CREATE TEMP TABLE t (n serial, x text, y text, z text)"); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(*flagSeed, 3))
	rounds, taken, same := *flagValues*2, [2]int{}, [2]int{}
	if testing.Short() {
		rounds /= 4
	}
	for i := range rounds {
		f, force, options := randomFormat(r, i&1 == 1)
		data := randomData(r, f)
		binary, ok := transcodeText(t, f, force, pg.Version(), data)
		if !ok {
			continue
		}
		taken[i&1]++
		want, nativeErr := loadTexts(t, conn, options, data)
		got, err := loadTexts(t, conn, "(FORMAT binary)", binary)
		switch {
		case (err != nil) != (nativeErr != nil):
			t.Errorf("%s %q: native error %v, binary %v", options, data, nativeErr, err)
		case got != want:
			t.Errorf("%s %q:\n%s\ntranscoded\n%s", options, data, want, got)
		case err == nil:
			same[i&1]++
		}
	}
	t.Logf("of %d: text and csv taken %d, stored %d", rounds, taken, same)
	if least := rounds / 10; same[0] < least || same[1] < least {
		t.Errorf("of %d only %d are compared", rounds, same)
	}
}

// transcodeText makes binary data for three columns of text, behind the scanner.
func transcodeText(t *testing.T, f Format, force bool, version int, data []byte) (binary []byte, ok bool) {
	t.Helper()
	o := rows.Options{Format: "text"}
	if f.CSV {
		o = rows.Options{Format: "csv", Quote: f.Quote, Escape: f.Escape, CSVMarker: version < 180000}
	}
	s, err := rows.New(o)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Scan(data)
	if err != nil {
		return nil, false
	}
	if found.Done {
		data = data[:found.Cut-found.Back]
	}
	end, err := s.End()
	if err != nil {
		return nil, false
	}
	cols := []Column{{Base: oidText, ForceNull: force}, {Base: oidText, ForceNotNull: force}, {Base: oidText, ForceNull: force, ForceNotNull: force}}
	tr, err := New(cols, f, Settings{Version: version, ClientEncoding: "UTF8", ServerEncoding: "UTF8"})
	if err != nil {
		t.Fatal(err)
	}
	binary, n, err := tr.Append([]byte(Header), data)
	var fallback *Fallback
	if errors.As(err, &fallback) {
		return nil, false
	}
	if int64(n) != end.Rows || err != nil {
		t.Errorf("%+v %q: %d rows, the scanner says %d: %v", f, data, n, end.Rows, err)
	}
	return append(binary, Trailer...), true
}

// loadTexts copies into t and returns its rows.
func loadTexts(t *testing.T, conn *pgx.Conn, options string, data []byte) (stored string, copyErr error) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := conn.PgConn().CopyFrom(t.Context(), bytes.NewReader(data), "COPY t (x, y, z) FROM STDIN "+options); err != nil {
		return "", err
	}
	err = tx.QueryRow(t.Context(), "SELECT coalesce(string_agg(json_build_array(x, y, z)::text, E'\\n' ORDER BY n), '') FROM t").Scan(&stored)
	if err != nil {
		t.Fatal(err)
	}
	return stored, nil
}
