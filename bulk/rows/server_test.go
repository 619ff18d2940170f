package rows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// oracle asks a real server what rows data has.
type oracle struct {
	conn    *pgx.Conn
	marker  bool
	columns string
	// textHeader: the server knows HEADER in text, as it does since 15.
	textHeader bool
}

func newOracle(t *testing.T, kind string, columns ...string) *oracle {
	t.Helper()
	pg := testenv.Postgres(t)
	o := &oracle{
		conn:    pg.Connect(t, pg.NewDatabase(t), "postgres"),
		marker:  pg.Version() < 180000,
		columns: strings.Join(columns, ", "),

		textHeader: pg.Version() >= 150000,
	}
	// n keeps the order of the rows, which their place in the table need not be.
	create := "CREATE TEMP TABLE t (n bigserial, " + strings.Join(columns, " "+kind+", ") + " " + kind + ")"
	if _, err := o.conn.Exec(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	return o
}

// copySQL reads every line as one value: no data here holds the delimiter.
func (s *oracle) copySQL(o Options) string {
	sql := "COPY t (" + s.columns + ") FROM STDIN (FORMAT " + o.Format
	if o.Format == "binary" {
		return sql + ")"
	}
	sql += fmt.Sprintf(`, DELIMITER E'\x01', HEADER %t`, o.HeaderLines > 0)
	if o.Format == "csv" {
		o = o.withDefaults()
		sql += fmt.Sprintf(`, QUOTE E'\x%02x', ESCAPE E'\x%02x'`, o.Quote, o.Escape)
	}
	return sql + ")"
}

// load copies the pieces one after the other and returns the rows of the table.
func (s *oracle) load(ctx context.Context, o Options, pieces ...[]byte) (rows []string, tags int64, err error) {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer tx.Rollback(ctx)
	for _, p := range pieces {
		tag, err := s.conn.PgConn().CopyFrom(ctx, bytes.NewReader(p), s.copySQL(o))
		if err != nil {
			return nil, 0, err
		}
		tags += tag.RowsAffected()
		o.HeaderLines = 0
	}
	found, err := tx.Query(ctx, "SELECT ROW("+s.columns+")::text FROM t ORDER BY n")
	if err != nil {
		return nil, 0, err
	}
	rows, err = pgx.CollectRows(found, pgx.RowTo[string])
	return rows, tags, err
}

// cut is a place where the scanner lets data be cut.
type cut struct {
	off int
	at  Position
}

// cuts scans data in chunks. The last cut is the end of the data that counts.
func cuts(o Options, data []byte, next chunker) ([]cut, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	var all []cut
	end := len(data)
	for base := 0; base < len(data); {
		n := min(next(len(data)-base), len(data)-base)
		r, err := s.Scan(data[base : base+n])
		if err != nil {
			return nil, err
		}
		if r.Done && end == len(data) {
			end = base + r.Cut - r.Back
		} else if r.Cut > r.Skip {
			all = append(all, cut{base + r.Cut, r.At})
		}
		base += n
	}
	at, err := s.End()
	if err != nil {
		return nil, err
	}
	return append(all, cut{end, at}), nil
}

// judge compares what the scanner and the server make of data; it says whether
// the server took data that the scanner left to it.
func (s *oracle) judge(ctx context.Context, o Options, data []byte, next chunker) (cautious bool, err error) {
	rows, tag, serverErr := s.load(ctx, o, data)
	all, err := cuts(o, data, next)
	if errors.Is(err, ErrIrregular) {
		return serverErr == nil, nil
	}
	if err != nil {
		return false, err
	}
	if serverErr != nil {
		var pgErr *pgconn.PgError
		if errors.As(serverErr, &pgErr) && pgErr.Code == "22021" {
			return false, nil // a byte that the encoding doesn't allow: a value's error
		}
		return false, fmt.Errorf("only the server refuses: %w", serverErr)
	}
	if end := all[len(all)-1]; end.at.Rows != tag {
		return false, fmt.Errorf("counted %+v, server %d", end.at, tag)
	}
	var pieces [][]byte
	from := 0
	for _, c := range all {
		pieces = append(pieces, data[from:c.off])
		from = c.off
	}
	if o.Format == "binary" {
		pieces = binaryPieces(pieces)
	}
	cutRows, cutTags, err := s.load(ctx, o, pieces...)
	if err != nil {
		return false, fmt.Errorf("load cut data: %w", err)
	}
	if cutTags != tag || !slices.Equal(rows, cutRows) {
		return false, fmt.Errorf("whole %q, cut %q", rows, cutRows)
	}
	return false, s.judgeLines(ctx, o, data, all)
}

// binaryPieces gives each piece but the first a header of its own.
func binaryPieces(pieces [][]byte) [][]byte {
	for i := range pieces[1:] {
		pieces[1+i] = append([]byte(binaryHeader), pieces[1+i]...)
	}
	return pieces
}

var contextLine = regexp.MustCompile(`COPY t, line (\d+)`)

// judgeLines puts a bad row behind some cuts and compares the line that the
// server complains about.
func (s *oracle) judgeLines(ctx context.Context, o Options, data []byte, all []cut) error {
	step := 1 + len(all)/5
	for i := 0; i < len(all)-1; i += step {
		c := all[i]
		bad := "a\x01b"
		if o.Format == "binary" {
			bad = "\x00\x7f"
		}
		_, _, err := s.load(ctx, o, append(bytes.Clone(data[:c.off]), bad...))
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) {
			return fmt.Errorf("bad row at %d: %w", c.off, err)
		}
		m := contextLine.FindStringSubmatch(pgErr.Where)
		if m == nil || m[1] != strconv.FormatInt(c.at.Lines+1, 10) {
			return fmt.Errorf("bad row at %d behind %+v: server says %q: %q", c.off, c.at, pgErr.Message, pgErr.Where)
		}
	}
	return nil
}

func TestServerLines(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "csv"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := newOracle(t, "text", "a")
			r := rand.New(rand.NewPCG(5, 5))
			cautious, tried := 0, 0
			try := func(o Options, data []byte) {
				t.Helper()
				o.CSVMarker = s.marker
				if format == "text" && o.HeaderLines > 0 && !s.textHeader {
					return
				}
				for _, next := range []chunker{bytewise, randomly(r.Uint64())} {
					caution, err := s.judge(t.Context(), o, data, next)
					if err != nil {
						t.Errorf("%+v %q: %v", o, data, err)
					}
					if caution {
						cautious++
						if !mayBeCautious(o, data) {
							t.Errorf("%+v %q: left to the server without need", o, data)
						}
					}
					tried++
				}
			}
			for _, data := range lineSeeds {
				try(Options{Format: format}, []byte(data))
				try(Options{Format: format, HeaderLines: 1}, []byte(data))
				for n := uint64(0); format == "csv" && n < 10; n++ {
					try(serverOptions(format, r), []byte(data))
				}
			}
			rounds := 60
			if testing.Short() {
				rounds = 5
			}
			for _, pieces := range alphabets[:len(alphabets)-1] {
				for range rounds {
					try(serverOptions(format, r), randomLines(r, pieces, 1+r.IntN(40)))
				}
			}
			t.Logf("%d of %d left to the server, which took them", cautious, tried)
		})
	}
}

// mayBeCautious knows the data that is left to a server though it takes it: a
// text marker behind data of its line, a csv marker of quotes, a csv header line
// that ends inside quotes.
func mayBeCautious(o Options, data []byte) bool {
	if o.Format == "text" {
		return bytes.Contains(data, []byte(`\.`))
	}
	return o.Quote == '\\' || o.HeaderLines > 0
}

// serverOptions are options that a server with UTF-8 takes.
func serverOptions(format string, r *rand.Rand) Options {
	for {
		if o := lineOptions(format, r.Uint64()); o.Quote < 0x80 {
			return o
		}
	}
}

func TestServerBinary(t *testing.T) {
	t.Parallel()
	s := newOracle(t, "bytea", "a", "b")
	r := rand.New(rand.NewPCG(6, 6))
	data := make([][]byte, 0, 1000)
	for _, seed := range binarySeeds {
		data = append(data, []byte(seed))
	}
	for range 600 {
		data = append(data, randomBinary(r))
	}
	cautious, o := 0, Options{Format: "binary", Columns: 2}
	for _, d := range data {
		caution, err := s.judge(t.Context(), o, d, randomly(r.Uint64()))
		if err != nil {
			t.Errorf("%q: %v", d, err)
		}
		if caution {
			cautious++
		}
	}
	t.Logf("%d of %d left to the server, which took them", cautious, len(data))
}

// TestServerWide gives the server's buffers and ours lines longer than any.
func TestServerWide(t *testing.T) {
	t.Parallel()
	s := newOracle(t, "text", "a")
	wide := strings.Repeat(long, 3000)
	for _, format := range []string{"text", "csv"} {
		for _, end := range []string{"\n", "\r\n", "\r"} {
			data := "a" + end + wide + end + `"` + strings.Repeat("b\"\""+strings.Repeat("c", 700), 300) + `"` + end + end + wide + end
			o := Options{Format: format, CSVMarker: s.marker}
			for _, next := range []chunker{whole, randomly(4), func(int) int { return 65536 }} {
				if caution, err := s.judge(t.Context(), o, []byte(data), next); err != nil || caution {
					t.Errorf("%+v %q: left to the server %v, %v", o, end, caution, err)
				}
			}
		}
	}
}
