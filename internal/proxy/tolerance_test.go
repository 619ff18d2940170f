package proxy

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// rejected is what is known of one bad row.
type rejected struct {
	line                          int
	column, code, message, record string
}

// tolerant is data for table t, of which some rows are bad.
type tolerant struct {
	name, ddl string
	// options are those of COPY, columns its list.
	options, columns string
	header, eol      string
	// records are the rows without line ends.
	records []string
	// limit is the setting, 1000 where it is 0.
	limit int
	// bare: the last record has no line end.
	bare bool
}

const tolerantDDL = createT

func (tc *tolerant) sql(header bool) string {
	options := tc.options
	if header && tc.header != "" {
		options = strings.TrimPrefix(options+", HEADER", ", ")
	}
	sql := "COPY t" + tc.columns + " FROM STDIN"
	if options != "" {
		sql += " (" + options + ")"
	}
	return sql
}

func (tc *tolerant) end() string {
	if tc.eol == "" {
		return "\n"
	}
	return tc.eol
}

func (tc *tolerant) data() []byte {
	all := tc.records
	if tc.header != "" {
		all = append([]string{tc.header}, all...)
	}
	data := strings.Join(all, tc.end())
	if len(all) > 0 && !tc.bare {
		data += tc.end()
	}
	return []byte(data)
}

var columnOf = regexp.MustCompile(`(?m)^COPY t, line \d+, column ([^:]+):`)

// alone loads each record by a COPY of its own behind a savepoint: what the
// proxy has to come to with fewer.
func (tc *tolerant) alone(t *testing.T, c *pgconn.PgConn) (out []rejected) {
	t.Helper()
	must(t, c, "BEGIN")
	line := 0
	if tc.header != "" {
		line = 1
	}
	char := "\n"
	if tc.eol != "" {
		char = "\r"
	}
	for i, r := range tc.records {
		line++
		if i > 0 || tc.header != "" || char == "\r" { // the server's way of counting
			line += strings.Count(r, char)
		}
		must(t, c, "SAVEPOINT s")
		o := copyIn(c, tc.sql(false), strings.NewReader(r+tc.end()))
		if o.lost != nil {
			t.Fatal(o.lost)
		}
		if o.err == nil {
			continue
		}
		must(t, c, "ROLLBACK TO s")
		column := o.err.ColumnName
		if m := columnOf.FindStringSubmatch(o.err.Where); m != nil {
			column = m[1]
		}
		record := strings.NewReplacer("\xff", `\xFF`, "\xe4", `\xE4`).Replace(r)
		out = append(out, rejected{line, column, o.err.Code, o.err.Message, record})
	}
	must(t, c, "COMMIT")
	return out
}

// rejects reads what was written down, by line.
func rejects(t *testing.T, c *pgconn.PgConn) (out []rejected) {
	t.Helper()
	results, err := c.Exec(context.Background(), `SELECT line, coalesce(column_name, ''), sqlstate, message, raw_line
		FROM relyt_sys.relyt_loader_rejects ORDER BY created, line`).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range results[0].Rows {
		var r rejected
		_, _ = fmt.Sscan(string(row[0]), &r.line)
		r.column, r.code, r.message, r.record = string(row[1]), string(row[2]), string(row[3]), string(row[4])
		out = append(out, r)
	}
	return out
}

// check runs the case directly, row by row, and through the proxy.
func (tc *tolerant) check(t *testing.T, b *bed) {
	t.Helper()
	if tc.ddl == "" {
		tc.ddl = tolerantDDL
	}
	if tc.limit == 0 {
		tc.limit = 1000
	}
	admin, c := b.direct(), b.proxied()
	defer hangUp(admin)
	defer hangUp(c)
	must(t, admin, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; "+tc.ddl)
	want := tc.alone(t, admin)
	rows := must(t, admin, fingerprint)
	must(t, admin, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; DELETE FROM pgbulk.reject; "+tc.ddl)

	must(t, c, fmt.Sprintf("SET pgbulk.max_error_records = %d", tc.limit))
	o := copyIn(c, tc.sql(true), bytes.NewReader(tc.data()))
	if tag := fmt.Sprintf("COPY %d", len(tc.records)-len(want)); o.tag != tag {
		t.Errorf("got %s, want %s", o, tag)
	}
	if got := must(t, admin, fingerprint); got != rows {
		t.Errorf("table has %s, want %s", got, rows)
	}
	got := rejects(t, admin)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Fatalf("missing %+v", want[i])
		case i >= len(want):
			t.Fatalf("too many: %+v", got[i])
		case got[i] != want[i]:
			t.Fatalf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}

// TestTolerance: the rows and the rejects are those of COPYs of one row each.
func TestTolerance(t *testing.T) {
	t.Parallel()
	for _, set := range []struct {
		engine string
		bytes  int64
	}{{"postgres", 64 << 10}, {"plain", 500}} {
		t.Run(set.engine, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) {
				c.Engine = set.engine
				c.Stage.FileBytes = set.bytes
			})
			for _, tc := range tolerances {
				t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) { tc.check(t, b) })
			}
			b.wantMetric(0, "pgbulk_ledger_errors_total")
		})
	}
}
