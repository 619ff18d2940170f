package proxy

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestCitusExtensions: rows and counts of what is ours are the same in every kind of
// table.
func TestCitusExtensions(t *testing.T) {
	t.Parallel()
	pg := testenv.Citus(t)
	b := newPlainBed(t, pg, Options{}, func(c *config.Config) {
		c.Engine, c.Stage.MinBytes, c.Load.Method = "citus", 0, config.MethodExternal
	})
	installCitus(t, pg, b.db)
	admin := b.direct()
	stagedLoads := 0
	for _, kind := range []string{"create_distributed_table('t', 'id')", "create_reference_table('t')"} {
		must(t, admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, note text); SELECT "+kind+"; DELETE FROM pgbulk.label")
		for i, tc := range []struct{ sql, data, tag, rows string }{
			{"COPY t FROM STDIN", "1\ta\n2\tb\n", "COPY 2", "1a 2b"},
			{"COPY t FROM STDIN (ON_CONFLICT nothing)", "2\tx\n3\tc\n", "COPY 1", "1a 2b 3c"},
			{"COPY t FROM STDIN (ON_CONFLICT update)", "3\tC\n4\td\n", "COPY 2", "1a 2b 3C 4d"},
			{"COPY t FROM STDIN (ON_CONFLICT update, LAST_WINS)", "4\tx\n4\tD\n", "COPY 1", "1a 2b 3C 4D"},
			{"COPY t FROM STDIN (LABEL 'l')", "5\te\n", "COPY 1", "1a 2b 3C 4D 5e"},
			{"COPY t FROM STDIN (LABEL 'l')", "6\tf\n", "COPY 1", "1a 2b 3C 4D 5e"},
			{"COPY t (id, op, note) FROM STDIN (MODE merge, OPERATION_COLUMN op)", "1\tD\t\n2\tU\tB\n7\tI\tg\n", "COPY 3", "2B 3C 4D 5e 7g"},
			{"COPY t FROM STDIN (MODE overwrite, LABEL 'm')", "1\tz\n", "COPY 1", "1z"},
		} {
			for _, block := range []bool{true, false} {
				c := b.proxied()
				if strings.Contains(tc.sql, "merge") && strings.Contains(kind, "reference") {
					if o := copyIn(c, tc.sql, strings.NewReader(tc.data)); o.err == nil || o.err.Code != "0A000" {
						t.Errorf("%s, %d: %s", kind, i, o)
					}
					continue
				}
				if block { // all of it is undone
					must(t, c, "BEGIN")
				}
				if o := copyIn(c, tc.sql, strings.NewReader(tc.data)); o.tag != tc.tag {
					t.Errorf("%s, %d, in a block %v: %s, want %s", kind, i, block, o, tc.tag)
				}
				if got := must(t, c, "SELECT string_agg(id || note, ' ' ORDER BY id) FROM t"); got != tc.rows {
					t.Errorf("%s, %d, in a block %v: %s, want %s", kind, i, block, got, tc.rows)
				}
				if block {
					must(t, c, "ROLLBACK")
				}
				hangUp(c)
			}
		}
		c := b.proxied()
		must(t, c, setStaged)
		data := string(textRows(5000))
		if o := copyIn(c, "COPY t FROM STDIN (MODE append)", strings.NewReader(data[strings.Index(data, "\n2\t")+1:])); o.err != nil {
			t.Errorf("%s, staged: %s", kind, o)
		}
		must(t, c, flush)
		if got := must(t, admin, "SELECT count(*) FROM t"); got != "4999" {
			t.Errorf("%s, staged: %s rows, %s", kind, got, must(t, admin, "SELECT string_agg(status || coalesce(error_message, ''), ' ') FROM relyt_sys.relyt_loader_checkpoint"))
		}
		if stagedLoads++; must(t, admin, "SELECT count(*) FROM pgbulk.staged WHERE done") != strconv.Itoa(stagedLoads) {
			t.Errorf("%s: the load was not answered when staged", kind)
		}
	}
}

// TestTranscodedCitus: rows go on to workers as text unless COPY binary is asked for,
// and into a table of the coordinator's, or a temporary one, as COPY binary.
func TestTranscodedCitus(t *testing.T) {
	t.Parallel()
	pg := testenv.Citus(t)
	for transcode, spread := range map[string]bool{config.MethodAuto: false, config.TranscodeOn: true} {
		b := newPlainBed(t, pg, Options{}, func(c *config.Config) {
			c.Engine, c.Stage.MinBytes, c.Load.Method, c.Load.Transcode = "citus", 0, config.MethodAuto, transcode
		})
		installCitus(t, pg, b.db)
		c := b.proxied()
		for _, tc := range []struct {
			kind, sql string
			binary    bool
		}{
			{"create_distributed_table('t', 'id')", "COPY t FROM STDIN", spread},
			{"create_reference_table('t')", "COPY t FROM STDIN", spread},
			{"create_distributed_table('t', 'id')", "COPY t FROM STDIN (ON_CONFLICT update)", true},
			{"1", "COPY t FROM STDIN", true},
		} {
			must(t, b.direct(), "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, note text); SELECT "+tc.kind)
			before := b.metric(t, transcodedFiles, "result", "ok")
			if o := copyIn(c, tc.sql, bytes.NewReader(textRows(5000))); o.tag != "COPY 5000" {
				t.Errorf("%s: %s: %s", tc.kind, tc.sql, o)
			}
			if got := b.metric(t, transcodedFiles, "result", "ok") - before; got > 0 != tc.binary {
				t.Errorf("%s, %s: %s: %v files went as COPY binary, want some %v", transcode, tc.kind, tc.sql, got, tc.binary)
			}
		}
	}
}
