package gpfdist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// greenplum returns a session of a real database, in a schema of its own.
func greenplum(t testing.TB) *pgx.Conn {
	t.Helper()
	dsn := os.Getenv("PGBULK_TEST_GREENPLUM_DSN")
	if dsn == "" {
		t.Skip("PGBULK_TEST_GREENPLUM_DSN is not set: no Greenplum to ask")
	}
	c := connect(t, dsn, nil)
	schema := schemaOf(t)
	for _, sql := range []string{
		"CREATE SCHEMA " + schema, "SET search_path = " + schema,
		"CREATE TABLE t (id int, txt text) DISTRIBUTED BY (id)", "SET gp_autostats_mode = none",
	} {
		exec(t, c, sql)
	}
	t.Cleanup(func() {
		_ = c.Close(context.Background()) // and its locks
		c := connect(t, dsn, nil)
		exec(t, c, "DROP SCHEMA "+schema+" CASCADE")
	})
	return c
}

// schemaOf names the test's schema.
func schemaOf(t testing.TB) string {
	raw := strings.NewReplacer("/", "_", " ", "_").Replace(strings.ToLower(t.Name()))
	return fmt.Sprintf("gpfdist_%s_%d", raw[:min(len(raw), 40)], os.Getpid())
}

// connect opens a session whose context outlives the test's.
func connect(t testing.TB, dsn string, change func(*pgx.ConnConfig)) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if change != nil {
		change(cfg)
	}
	c, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func exec(t testing.TB, c *pgx.Conn, sql string) string {
	t.Helper()
	tag, err := c.Exec(context.Background(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tag.String()
}

// external makes table e over a stream.
func external(t testing.TB, c *pgx.Conn, st *Stream, format string) {
	t.Helper()
	exec(t, c, "CREATE EXTERNAL TEMP TABLE e (id int, txt text) LOCATION ('"+st.URL()+"') "+format)
}

const textFormat = `FORMAT 'TEXT' (DELIMITER E'\t' NULL '\N' ESCAPE E'\\' NEWLINE 'LF')`

// TestGreenplumReads: every row once, while they are still being added.
func TestGreenplumReads(t *testing.T) {
	t.Parallel()
	for name, format := range map[string]string{
		"text": textFormat, "csv": `FORMAT 'CSV' (DELIMITER E'\t' NULL '\N' QUOTE '"' ESCAPE '"' NEWLINE 'LF')`,
		"ungiven newline": `FORMAT 'TEXT' (DELIMITER E'\t')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := greenplum(t)
			s := newServer(t, Config{})
			for _, rows := range []int64{0, 1, 50_000} {
				st, _ := newStream(t, s)
				external(t, c, st, format)
				fed := make(chan error, 1)
				go func() { fed <- feed(t.Context(), st, rows) }()
				if tag := exec(t, c, "INSERT INTO t SELECT * FROM e"); tag != fmt.Sprintf("INSERT 0 %d", rows) {
					t.Errorf("%d rows: %s", rows, tag)
				}
				if err := <-fed; err != nil {
					t.Error(err)
				}
				var n, sum int64
				if err := c.QueryRow(t.Context(), "SELECT count(DISTINCT id), coalesce(sum(id), 0) FROM t WHERE txt = 'row number ' || id").Scan(&n, &sum); err != nil {
					t.Fatal(err)
				}
				if n != rows || sum != rows*(rows+1)/2 {
					t.Errorf("%d rows of %d, sum %d", n, rows, sum)
				}
				if got := st.Stats(); got.Rows != rows || got.Segments < 2 {
					t.Errorf("stats are %+v", got)
				}
				st.Close()
				exec(t, c, "DROP EXTERNAL TABLE e")
				exec(t, c, "TRUNCATE t")
			}
		})
	}
}

// bad are blocks of 100 rows of which lines 777 and 4321 are no rows.
func bad(ctx context.Context, st *Stream) {
	for line := int64(1); line <= 5000; line += 100 {
		b := block(line, 100)
		for _, wrong := range []int64{777, 4321} {
			if wrong >= line && wrong < line+100 {
				p := append([]byte(nil), text(b)...)
				p = []byte(strings.Replace(string(p), row(wrong)+"\n", "x"+row(wrong)+"\n", 1))
				b.Data, b.Size = plainBytes(p), int64(len(p))
			}
		}
		if st.Add(ctx, b) != nil {
			return
		}
	}
	st.Finish()
}

func text(b Block) []byte {
	var w strings.Builder
	_, _ = b.Data.WriteTo(&w)
	return []byte(w.String())
}

// TestGreenplumNamesTheLine: an error of the server's names the client's line.
func TestGreenplumNamesTheLine(t *testing.T) {
	t.Parallel()
	c := greenplum(t)
	s := newServer(t, Config{})
	st, _ := newStream(t, s)
	external(t, c, st, textFormat)
	go bad(t.Context(), st)
	_, err := c.Exec(t.Context(), "INSERT INTO t SELECT * FROM e")
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "22P02" || !strings.Contains(e.Where, ", line 777 of ") && !strings.Contains(e.Where, ", line 4321 of ") {
		t.Fatalf("the error is %+v", e)
	}
	st.Close()
	exec(t, c, "DROP EXTERNAL TABLE e")

	st, _ = newStream(t, s)
	external(t, c, st, textFormat+" LOG ERRORS SEGMENT REJECT LIMIT 10 ROWS")
	go bad(t.Context(), st)
	if tag := exec(t, c, "INSERT INTO t SELECT * FROM e"); tag != "INSERT 0 4998" {
		t.Errorf("with bad rows: %s", tag)
	}
	rows, err := c.Query(t.Context(), "SELECT linenum::bigint, filename, rawdata FROM gp_read_error_log('e') ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	var lines []int64
	for rows.Next() {
		var line int64
		var file, raw string
		if err := rows.Scan(&line, &file, &raw); err != nil {
			t.Fatal(err)
		}
		if raw != "x"+row(line) || !strings.HasSuffix(file, "[COPY t]") {
			t.Errorf("line %d of %s is %q", line, file, raw)
		}
		lines = append(lines, line)
	}
	if len(lines) != 2 || lines[0] != 777 || lines[1] != 4321 {
		t.Errorf("bad lines %v", lines)
	}
}

// TestGreenplumHearsWhy: a stream that fails is an error of the statement, within
// the client's transaction, which goes on behind a savepoint.
func TestGreenplumHearsWhy(t *testing.T) {
	t.Parallel()
	c := greenplum(t)
	s := newServer(t, Config{})
	st, _ := newStream(t, s)
	exec(t, c, "BEGIN; INSERT INTO t VALUES (1, 'before'); SAVEPOINT a")
	external(t, c, st, textFormat)
	go func() {
		_ = st.Add(t.Context(), block(1, 100))
		st.Fail(errors.New("the client went away"))
	}()
	_, err := c.Exec(t.Context(), "INSERT INTO t SELECT * FROM e")
	var e *pgconn.PgError
	if !errors.As(err, &e) || !strings.HasPrefix(e.Message, "gpfdist error - the client went away ") && !strings.Contains(e.Message, "http response code 500") {
		t.Fatalf("the error is %+v", e)
	}
	exec(t, c, "ROLLBACK TO a; COMMIT")
	var n int
	if err := c.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows are left, %v", n, err)
	}
}

// TestGreenplumTokenIsOver: a second read of the same table gets no row.
func TestGreenplumTokenIsOver(t *testing.T) {
	t.Parallel()
	c := greenplum(t)
	s := newServer(t, Config{})
	st, _ := newStream(t, s)
	external(t, c, st, textFormat)
	go func() { _ = feed(t.Context(), st, 1000) }()
	if tag := exec(t, c, "INSERT INTO t SELECT * FROM e"); tag != "INSERT 0 1000" {
		t.Error(tag)
	}
	var e *pgconn.PgError
	if _, err := c.Exec(t.Context(), "INSERT INTO t SELECT * FROM e"); !errors.As(err, &e) || !strings.Contains(e.Message, "http response code 409") {
		t.Errorf("a second scan: %v", err)
	}
	st.Close()
	if _, err := c.Exec(t.Context(), "INSERT INTO t SELECT * FROM e"); !errors.As(err, &e) || !strings.Contains(e.Message, "http response code 404") {
		t.Errorf("behind Close: %v", err)
	}
}

// TestGreenplumSegmentKilled: the statement fails, the stream fails, no row stays.
func TestGreenplumSegmentKilled(t *testing.T) {
	t.Parallel()
	c := greenplum(t)
	s := newServer(t, Config{})
	st, _ := newStream(t, s)
	external(t, c, st, textFormat)
	var session int
	if err := c.QueryRow(t.Context(), "SELECT sess_id FROM pg_stat_activity WHERE pid = pg_backend_pid()").Scan(&session); err != nil {
		t.Fatal(err)
	}
	other := connect(t, os.Getenv("PGBULK_TEST_GREENPLUM_DSN"), nil)
	inserted := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), "INSERT INTO t SELECT * FROM e")
		inserted <- err
	}()
	var err error
	for line := int64(1); err == nil; line += 100 {
		if line == 50_001 {
			var n int
			if err := other.QueryRow(t.Context(), fmt.Sprintf("SELECT count(pg_terminate_backend(pid)) FROM (SELECT gp_execution_segment() AS segment, pid, sess_id FROM gp_dist_random('pg_stat_activity')) x WHERE sess_id = %d AND segment = 1", session)).Scan(&n); err != nil || n == 0 {
				t.Fatalf("%d backends of the segment were killed: %v", n, err)
			}
		}
		err = st.Add(t.Context(), block(line, 100))
	}
	if !strings.Contains(err.Error(), "left in the middle") {
		t.Errorf("Add: %v", err)
	}
	if err := <-inserted; err == nil {
		t.Error("the INSERT ended well")
	}
	// The session ends with its backends.
	var n int
	after := connect(t, os.Getenv("PGBULK_TEST_GREENPLUM_DSN"), nil)
	if err := after.QueryRow(t.Context(), "SELECT count(*) FROM "+schemaOf(t)+".t").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows are left, %v", n, err)
	}
}
