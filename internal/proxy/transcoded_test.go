package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

const transcodedFiles = "pgbulk_transcoded_files_total"

// dated are rows of several files; those whose number is in odd have a date that
// only the server reads.
func dated(n int, odd ...int) []byte {
	return generate(n, func(i int) string {
		date := fmt.Sprintf("2024-%02d-%02d", i%12+1, i%28+1)
		if slices.Contains(odd, i) {
			date = "Jan 1 2024"
		}
		return fmt.Sprintf("%d\t%s\tnote %d\\tof a row\n", i, date, i)
	})
}

// TestTranscodedMisfit: a file with a value that only the server reads goes as it
// is, the files behind it as COPY binary again; two such files in a row end that.
func TestTranscodedMisfit(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]string{"postgres": "postgres", "plain": "plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { transcoded(c); c.Engine = engine })
			must(t, b.direct(), "CREATE TABLE t (id int PRIMARY KEY, d date, note text, n serial, m int GENERATED ALWAYS AS IDENTITY)")
			for _, c := range []struct {
				odd                   []int
				atLeast, misfit, ends float64
			}{
				{nil, 4, 0, 0},
				{[]int{1, 10000}, 2, 2, 0},
				{[]int{11999}, 3, 1, 0},
				{[]int{5000, 5500, 6000, 6500, 7000, 7500, 8000, 8500, 9000, 9500, 10000}, 1, 2, 1},
			} {
				ok, misfit := b.metric(t, transcodedFiles, "result", "ok"), b.metric(t, transcodedFiles, "result", "misfit")
				native := b.metric(t, "pgbulk_fallbacks_total", "reason", "transcode")
				data := dated(12000, c.odd...)
				o := b.sameIn("COPY t (id, d, note) FROM STDIN", data, "ALTER SEQUENCE t_n_seq RESTART; ALTER SEQUENCE t_m_seq RESTART", "")
				if o.tag != "COPY 12000" {
					t.Error(o)
				}
				ok, misfit = b.metric(t, transcodedFiles, "result", "ok")-ok, b.metric(t, transcodedFiles, "result", "misfit")-misfit
				native = b.metric(t, "pgbulk_fallbacks_total", "reason", "transcode") - native
				if ok < c.atLeast || misfit != c.misfit || native != c.ends {
					t.Errorf("odd rows %v: %v files in binary, %v misfits, %v went on natively", c.odd, ok, misfit, native)
				}
			}
		})
	}
}

// TestTranscodedErrors: whatever is wrong, and in whichever file, the error and the
// line in its CONTEXT are those of the client's COPY.
func TestTranscodedErrors(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, transcoded)
	must(t, b.direct(), "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN small AS int CHECK (VALUE < 1000000);"+
		"CREATE TABLE t (id int PRIMARY KEY, d date, note varchar(60), m mood, s small)")
	row := func(i int, what string) string {
		f := []string{fmt.Sprint(i), "2024-02-03", fmt.Sprintf("note\\n%d", i), "ok", "7"}
		switch what {
		case "date":
			f[1] = "2024-02-30"
		case "key":
			f[0] = "3"
		case "length":
			f[2] = strings.Repeat("x", 61)
		case "label":
			f[3] = "glad"
		case "domain":
			f[4] = "1000000"
		case "short":
			f = f[:4]
		case "bytes":
			f[2] = "\xff\xfe"
		}
		return strings.Join(f, "\t") + "\n"
	}
	for _, what := range []string{"date", "key", "length", "label", "domain", "short", "bytes"} {
		for _, at := range []int{10, 5000, 11999} {
			for _, csv := range []bool{false, true} {
				data, sql := generate(12000, func(i int) string {
					if i == at {
						return row(i, what)
					}
					return row(i, "")
				}), "COPY t FROM STDIN"
				if csv {
					data = bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("note"), []byte(`"note`)), []byte("\\n"), []byte("\n\"\"x\"")), []byte("\t"), []byte(","))
					data = append([]byte("id,d,note,m,s\n"), data...)
					sql += " WITH (FORMAT csv, HEADER)"
				}
				if o := b.same(sql, data); o.err == nil {
					t.Errorf("%s, row %d, csv %v: %s", what, at, csv, o)
				}
			}
		}
	}
	if o := b.sameIn("COPY t FROM STDIN", generate(12000, func(i int) string { return row(i%11000, "") }), "BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT"); o.err == nil {
		t.Error(o)
	}
	b.wantMemory()
}

// wantMemory demands that the whole budget is free.
func (b *bed) wantMemory() {
	b.t.Helper()
	m := b.loader.Memory()
	size := config.Default().Stage.MemoryBytes
	eventually(b.t, patience, func() string {
		if !m.Reserve(size) {
			return "memory is taken"
		}
		m.Return(size)
		return ""
	})
}

// TestTranscodedTable: rows that go through a temporary table, and those of loads
// that skip bad ones, go as COPY binary too.
func TestTranscodedTable(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, transcoded)
	admin := b.direct()
	c := b.proxied()
	files := func(sql string, data []byte, want string) float64 {
		t.Helper()
		before := b.metric(t, transcodedFiles, "result", "ok")
		if o := copyIn(c, sql, bytes.NewReader(data)); o.tag != want {
			t.Errorf("%s: %s, want %s", sql, o, want)
		}
		return b.metric(t, transcodedFiles, "result", "ok") - before
	}
	must(t, admin, "CREATE TABLE t (id int PRIMARY KEY, d date, note text); INSERT INTO t SELECT n, '2020-01-01', 'old' FROM generate_series(0, 20000, 2) n")
	if n := files("COPY t FROM STDIN WITH (ON_CONFLICT update)", dated(12000, 7), "COPY 12000"); n < 2 {
		t.Errorf("upsert: %v files", n)
	}
	if got := must(t, admin, "SELECT count(*) || ' ' || count(*) FILTER (WHERE note = 'old') || ' ' || min(note) FROM t"); got != "16001 4001 note 0\tof a row" {
		t.Error(got)
	}
	must(t, admin, "TRUNCATE t")
	data := bytes.Replace(dated(12000), []byte("6000\t2024"), []byte("6000\tx2024"), 1)
	must(t, c, "SET pgbulk.max_error_records = 10")
	if n := files("COPY t FROM STDIN", data, "COPY 11999"); n < 2 {
		t.Errorf("tolerant: %v files", n)
	}
	must(t, c, "RESET pgbulk.max_error_records")
	must(t, admin, "TRUNCATE t")
	var want [2]string
	for i, c := range []*pgconn.PgConn{admin, c} { // the same error, as the COPY that it natively is
		must(t, c, "CREATE TEMP TABLE mine (LIKE t)")
		o := copyIn(c, "COPY mine FROM STDIN", bytes.NewReader(data))
		want[i] = o.String()
	}
	if want[0] != want[1] {
		t.Errorf("direct %s, proxied %s", want[0], want[1])
	}
	if o := copyIn(c, "COPY t FROM STDIN WITH (ON_CONFLICT update)", bytes.NewReader(data)); o.err == nil || o.err.Where != `COPY t, line 6001, column d: "x2024-01-09"` {
		t.Errorf("upsert: %s", o)
	}
	b.wantMemory()
}

// TestTranscodedUnread: without a ledger nothing is put into the store beside it,
// and what can't go as COPY binary is relayed.
func TestTranscodedUnread(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Postgres(t), Options{}, func(c *config.Config) {
		transcoded(c)
		c.Engine, c.Sweep.Keep = "plain", config.KeepNever
	})
	must(t, b.direct(), "CREATE TABLE t (id int PRIMARY KEY, d date, note text)")
	if o := b.same("COPY t FROM STDIN", dated(12000, 7000)); o.tag != "COPY 12000" {
		t.Error(o)
	}
	if ok := b.metric(t, transcodedFiles, "result", "ok"); ok < 2 {
		t.Errorf("%v files in binary", ok)
	}
	b.wantMetric(0, "pgbulk_bytes_total", "leg", "store")
	b.wantMetric(1, "pgbulk_loads_total")
	must(t, b.direct(), "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES t")
	if o := b.same("COPY t FROM STDIN", dated(12000)); o.tag != "COPY 12000" {
		t.Error(o)
	}
	b.wantMetric(1, "pgbulk_loads_total")
}

// TestTranscodedNotices: what functions say of rows comes once, and with the
// client's bytes.
func TestTranscodedNotices(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, transcoded)
	must(t, b.direct(), `CREATE FUNCTION loud(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$BEGIN IF $1 % 3000 = 0 THEN RAISE NOTICE 'row %', $1; END IF; RETURN true; END$$;
		CREATE TABLE t (id int CHECK (loud(id)), d date, note text)`)
	var said [2][]string
	for i, dsn := range []string{b.pg.TCPDSN(b.db, "postgres"), b.via()} {
		cfg, err := pgconn.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { said[i] = append(said[i], n.Message+n.Where) }
		c, err := pgconn.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp(c)
		if o := copyIn(c, "COPY t FROM STDIN", bytes.NewReader(dated(12000, 9000))); o.tag != "COPY 12000" {
			t.Error(o)
		}
	}
	if len(said[0]) != 4 || fmt.Sprint(said[0]) != fmt.Sprint(said[1]) {
		t.Errorf("direct %q\nproxied %q", said[0], said[1])
	}
}
