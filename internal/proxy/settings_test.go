package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// asking are settings of which each asks for what the server doesn't do.
var asking = []struct{ name, value string }{
	{"pgbulk.label", "x"}, {"pgbulk.on_conflict", "nothing"}, {"pgbulk.max_error_records", "3"},
}

// pipelined sends extended messages and a Sync, and returns the SQLSTATE and
// message of the error, or the tags.
func (r *rawConn) pipelined(messages ...[]byte) string {
	r.t.Helper()
	r.send(frame.Append(bytes.Join(messages, nil), 'S', nil))
	var tags []string
	for {
		m, e, err := r.until(func(m pgproto3.BackendMessage) bool {
			switch m.(type) {
			case *pgproto3.CommandComplete, *pgproto3.ReadyForQuery:
				return true
			}
			return false
		})
		if err != nil {
			r.t.Fatal(err)
		}
		if e != nil {
			tags = append(tags, e.Code+" "+e.Message)
		}
		if c, ok := m.(*pgproto3.CommandComplete); ok {
			tags = append(tags, string(c.CommandTag))
			continue
		}
		return strings.Join(tags, ", ")
	}
}

// extended are the messages that run a statement by the extended protocol.
func extended(portal, sql string) []byte {
	const z = "\x00"
	out := frame.Append(nil, 'P', []byte(z+sql+z+z+z))
	out = frame.Append(out, 'B', []byte(portal+z+z+z+z+z+z+z+z))
	return frame.Append(out, 'E', []byte(portal+z+z+z+z+z))
}

// TestSettingsNeverIgnored: a COPY that passes without being inspected is refused
// where settings ask for more than the server does, and only there.
func TestSettingsNeverIgnored(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	admin := b.direct()
	role := b.pg.NewRole(t, "")
	must(t, admin, createT+"; CREATE TABLE log (note text); GRANT INSERT (id, note), SELECT ON t TO "+role)
	const values = "INSERT INTO log VALUES ('a;b'), ('c'), ('d')"
	for _, tc := range []struct{ sql, reason string }{
		{"COPY t FROM STDIN; SELECT 1", "multi_statement"},
		{"SELECT 1; copy t FROM STDIN", "multi_statement"},
		{values + ";\n-- rows\nCOPY t FROM STDIN", "multi_statement"},
		{"SELECT '" + strings.Repeat("long", 50_000) + "' = ';'; COPY t FROM STDIN", "multi_statement"},
		{"SET ROLE " + role + "; COPY t FROM STDIN", "multi_statement"},
		{`COPY "` + b.db + `".public.t FROM STDIN`, "qualified_database"},
		{"COPY t FROM STDIN /*" + strings.Repeat("long", mib/2) + "*/", "too_long"},
	} {
		data := func() *strings.Reader { return strings.NewReader("1\ta\n") }
		for _, set := range asking {
			want := "0A000 pgbulkproxy: setting " + set.name + " is not supported here (" + tc.reason + ")"
			c := b.proxied()
			must(t, c, "SET "+set.name+" = '"+set.value+"'")
			if o := copyIn(c, tc.sql, data()); o.err == nil || o.err.Code+" "+o.err.Message != want || c.TxStatus() != 'I' {
				t.Errorf("%.100s: %s, want %s", tc.sql, o, want)
			}
			must(t, c, "BEGIN")
			if o := copyIn(c, tc.sql, data()); o.err == nil || o.err.Code+" "+o.err.Message != want || c.TxStatus() != 'E' {
				t.Errorf("in a block: %.100s: %s, want %s", tc.sql, o, want)
			}
			if o := copyIn(c, tc.sql, data()); o.err == nil || o.err.Code != "25P02" {
				t.Errorf("in a failed block: %s", o)
			}
			must(t, c, "ROLLBACK; SET pgbulk.mode = off")
			if o := copyIn(c, tc.sql, data()); o.err != nil || o.lost != nil {
				t.Errorf("switched off: %.100s: %s", tc.sql, o)
			}
			hangUp(c)
			must(t, admin, "TRUNCATE t, log")
		}
		c := b.proxied()
		if o := copyIn(c, tc.sql, data()); o.err != nil || o.lost != nil || must(t, admin, "SELECT count(*) FROM t") != "1" {
			t.Errorf("without settings: %.100s: %s", tc.sql, o)
		}
		hangUp(c)
		must(t, admin, "TRUNCATE t, log")
	}
}

// TestSettingsAreLookedUp: a setting in the same text counts, and one in force where
// the inspection fails for want of a right that the COPY does not need.
func TestSettingsAreLookedUp(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	admin, c := b.direct(), b.proxied()
	role := b.pg.NewRole(t, "")
	must(t, admin, createT+"; GRANT INSERT (id, note), SELECT ON t TO "+role)
	if o := copyIn(c, "SET pgbulk.label = 'x'; COPY t FROM STDIN", strings.NewReader("1\ta\n")); o.err == nil || o.err.Code != "0A000" {
		t.Errorf("set in the same text: %s", o)
	}
	must(t, c, "SET ROLE "+role+"; SET pgbulk.on_conflict = nothing")
	if o := copyIn(c, "COPY t (id, note) FROM STDIN", strings.NewReader("1\ta\n")); o.err == nil || o.err.Code != "0A000" {
		t.Errorf("rights to columns: %s", o)
	}
	if o := copyIn(c, "COPY none FROM STDIN", strings.NewReader("1\ta\n")); o.err == nil || o.err.Code != "42P01" {
		t.Errorf("no table: %s", o)
	}
	if got := must(t, admin, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows were loaded", got)
	}
}

// TestSettingsInPipelines: the same in the middle of a pipeline, whose
// transaction ends as by any error.
func TestSettingsInPipelines(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	admin := b.direct()
	must(t, admin, createT+"; CREATE TABLE log (note text)")
	insert := extended("", "INSERT INTO log VALUES ('x')")
	rows := append(copyData([]byte("1\ta\n")), frame.Append(nil, 'c', nil)...)
	load := extended("", copyText)
	cut := append(bytes.Clone(load[:len(load)-10]), frame.Append(nil, 'H', nil)...) // a Flush before the Execute
	cut = append(cut, load[len(load)-10:]...)
	for _, set := range asking {
		for _, tc := range []struct {
			reason   string
			messages [][]byte
			tags     string
		}{
			{"in_pipeline", [][]byte{insert, load, rows, insert}, "INSERT 0 1, COPY 1, INSERT 0 1"},
			{"portal", [][]byte{extended("p", copyText), rows}, "COPY 1"},
			{"portal", [][]byte{cut, rows}, "COPY 1"},
			{"qualified_database", [][]byte{extended("", `COPY "`+b.db+`".public.t FROM STDIN`), rows}, "COPY 1"},
		} {
			for _, block := range []string{"", "BEGIN"} {
				c := b.proxied()
				must(t, c, "SET "+set.name+" = '"+set.value+"'")
				must(t, c, block)
				r := raw(t, c)
				want := "0A000 pgbulkproxy: setting " + set.name + " is not supported here (" + tc.reason + ")"
				if tc.reason == "in_pipeline" {
					want = "INSERT 0 1, " + want
				}
				for range 2 { // what the first guard has left must not be in the way
					if got := r.pipelined(tc.messages...); got != want {
						t.Errorf("%s %s %s: %s, want %s", set.name, tc.reason, block, got, want)
					}
					if block != "" {
						r.pipelined(extended("", "ROLLBACK"))
					}
				}
				if got := r.pipelined(extended("", "RESET "+set.name)); got != "RESET" {
					t.Error(got)
				}
				if got := must(t, admin, "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM log)"); got != "0" {
					t.Errorf("%s rows are left", got)
				}
				if got := r.pipelined(tc.messages...); got != tc.tags {
					t.Errorf("without settings: %s %s %s: %s", set.name, tc.reason, block, got)
				}
				if got := r.pipelined(extended("", "SELECT 1 FROM pg_prepared_statements")); got != "SELECT 0" {
					t.Errorf("statements are left: %s", got)
				}
				_ = r.Close()
				must(t, admin, "TRUNCATE t, log")
			}
		}
	}
}

// TestSettingsOfCopyAlone: an INSERT, whatever its size and way, does what it says
// under the settings for COPY.
func TestSettingsOfCopyAlone(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Insert.StageBytes = 4 << 10 })
	c := b.proxied()
	must(t, c, createT)
	for _, set := range asking {
		must(t, c, "SET "+set.name+" = '"+set.value+"'")
	}
	for i, rows := range []int{1, 10, 1000} { // relayed, streamed, large enough for files
		for j := range 2 {
			sql := "INSERT INTO t VALUES " + string(generate(rows, func(k int) string {
				return fmt.Sprintf("(%d, 'a note of some length'), ", 10000*i+5000*j+k)
			}))
			results, err := c.Exec(t.Context(), strings.TrimSuffix(sql, ", ")).ReadAll()
			if err != nil || results[0].CommandTag.String() != fmt.Sprintf("INSERT 0 %d", rows) {
				t.Errorf("%d rows, time %d: %v, %v", rows, j, results, err)
			}
			if _, err := c.Exec(t.Context(), strings.TrimSuffix(sql, ", ")).ReadAll(); err == nil || !strings.Contains(err.Error(), "23505") {
				t.Errorf("%d rows once more: %v", rows, err)
			}
		}
	}
	if got := must(t, c, "SELECT count(*) FROM t"); got != "2022" {
		t.Errorf("%s rows, want 2022", got)
	}
	b.wantMetric(0, "pgbulk_statements_total", "kind", "insert", "decision", "stage")
}
