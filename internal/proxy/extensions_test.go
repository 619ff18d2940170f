package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestExtensionsRefused: what we don't do is refused before any data, what the
// server would refuse is refused in its words, and the session goes on.
func TestExtensionsRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	role := b.pg.NewRole(t, "")
	must(t, b.direct(), createT+"; CREATE VIEW v AS SELECT * FROM t; CREATE TABLE r (id int PRIMARY KEY); ALTER TABLE r ENABLE ROW LEVEL SECURITY; GRANT ALL ON r TO "+role)
	c := b.proxied()
	for _, tc := range []struct{ set, sql, want string }{
		{"", "COPY t FROM STDIN (MODE replace)", "22023 pgbulkproxy: COPY option MODE must be append, overwrite, upsert or merge"},
		{"", "COPY none FROM STDIN (MODE replace)", `42P01 relation "none" does not exist`},
		{"", "COPY t (id, none) FROM STDIN (MODE append)", `42703 column "none" of relation "t" does not exist`},
		{"", "COPY v FROM STDIN (MODE append)", `42809 cannot copy to view "v"`},
		{"", "COPY t FROM STDIN (MODE append) WHERE note > 'a'", "0A000 pgbulkproxy: COPY option MODE is not supported here (where)"},
		{"", "COPY t FROM STDIN (MODE append) WHERE none", `42703 column "none" does not exist`},
		{"SET ROLE " + role, "COPY r FROM STDIN (ON_CONFLICT update)", "0A000 COPY FROM not supported with row-level security"},
		{"SET ROLE " + role + "; SET pgbulk.on_conflict = 'nothing'", "COPY r FROM STDIN", "0A000 COPY FROM not supported with row-level security"},
		{"SET ROLE " + role, "COPY t FROM STDIN (ON_CONFLICT update)", "42501 permission denied for table t"},
		{"SET pgbulk.on_conflict = 'replace'", copyText, "22023 pgbulkproxy: setting pgbulk.on_conflict must be nothing, update or error"},
		{"SET pgbulk.on_conflict = 'replace'", "COPY t FROM STDIN (ON_CONFLICT error)", ""},
		{"SET pgbulk.max_error_records = 'x'", "COPY t FROM STDIN (MODE append)", "22023 pgbulkproxy: setting pgbulk.max_error_records must be a number of rows, 0 or more"},
		{"SET pgbulk.on_conflict = 'replace'; SET pgbulk.mode = off", copyText, ""},
	} {
		for _, block := range []string{"", "BEGIN"} {
			must(t, c, "RESET ALL; "+tc.set)
			must(t, c, block)
			o := copyIn(c, tc.sql, strings.NewReader("1\ta\n2\tb\n"))
			got := ""
			if o.err != nil {
				got = o.err.Code + " " + o.err.Message
			} else if o.tag != "COPY 2" {
				got = o.String()
			}
			status := byte('I')
			if block != "" {
				status = 'T'
				if tc.want != "" {
					status = 'E'
				}
			}
			if got != tc.want || c.TxStatus() != status {
				t.Errorf("%s; %s; %s\n got %s, status %c\nwant %s, status %c", tc.set, block, tc.sql, got, c.TxStatus(), tc.want, status)
			}
			must(t, c, "ROLLBACK; RESET ROLE; TRUNCATE t")
		}
	}
}

// TestExtensionsNeverHeld: a statement of ours is ours whatever its size.
func TestExtensionsNeverHeld(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { c.Engine, c.Stage.MinBytes = engine, mib })
			c := b.proxied()
			must(t, c, createT)
			for i, data := range []string{"", "1\ta\n", "2\tb\n3\tc\n"} {
				if o := copyIn(c, "COPY t FROM STDIN (MODE append)", bytes.NewReader([]byte(data))); o.tag != fmt.Sprintf("COPY %d", i) {
					t.Error(o)
				}
			}
			if got := must(t, c, "SELECT count(*) FROM t"); got != "3" {
				t.Errorf("%s rows, want 3", got)
			}
			if o := copyIn(c, "COPY t FROM STDIN (MODE append)", strings.NewReader("4\ta\nx\tb\n")); o.err == nil || o.err.Where != `COPY t, line 2, column id: "x"` {
				t.Error(o)
			}
			b.wantMetric(4, "pgbulk_statements_total", "kind", "copy", "decision", "stage")
			b.wantSwept()
		})
	}
}
