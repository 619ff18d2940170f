package proxy

import (
	"context"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
)

// TestToleranceExtended: by Parse, Bind and Execute; the rows are committed, and
// the rejects with them, at the Sync.
func TestToleranceExtended(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	admin, c := b.direct(), b.proxied()
	must(t, c, createT)
	must(t, c, "SET pgbulk.max_error_records = 2")
	r := raw(t, c)
	const left = "SELECT concat_ws(' ', (SELECT count(*) FROM t), (SELECT count(*) FROM pgbulk.reject))"
	for _, tc := range []struct{ data, want, left, code string }{
		{"1\ta\nx\tb\n3\tc\n", "COPY 2", "2 1", ""},
		{"x\ta\ny\tb\nz\tc\n", "", "2 1", "22P02"},
		{"4\ta\n1\tb\n", "COPY 1", "3 2", ""},
	} {
		r.fe.Send(&pgproto3.Parse{Query: copyText})
		r.fe.Send(&pgproto3.Bind{})
		r.fe.Send(&pgproto3.Execute{})
		r.fe.Send(&pgproto3.Flush{})
		if err := r.fe.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, e, err := r.until(isCopyIn); e != nil || err != nil {
			t.Fatal(e, err)
		}
		r.fe.Send(&pgproto3.CopyData{Data: []byte(tc.data)})
		r.fe.Send(&pgproto3.CopyDone{})
		r.fe.Send(&pgproto3.Flush{})
		if err := r.fe.Flush(); err != nil {
			t.Fatal(err)
		}
		tag := ""
		before := must(t, admin, left)
		_, e, err := r.until(func(m pgproto3.BackendMessage) bool {
			if done, ok := m.(*pgproto3.CommandComplete); ok {
				tag = string(done.CommandTag)
			}
			_, failed := m.(*pgproto3.ErrorResponse)
			return failed || tag != ""
		})
		if err != nil || tag != tc.want || (e != nil) != (tc.code != "") || e != nil && e.Code != tc.code {
			t.Errorf("%q: tag %s, error %v %v", tc.data, tag, e, err)
		}
		if got := must(t, admin, left); got != before {
			t.Errorf("%q: %s before the Sync, %s before the data's end", tc.data, got, before)
		}
		r.send([]byte{'S', 0, 0, 0, 4})
		if _, _, err := r.until(isReady); err != nil {
			t.Fatal(err)
		}
		if got := must(t, admin, left); got != tc.left {
			t.Errorf("%q: %s rows and rejects, want %s", tc.data, got, tc.left)
		}
	}
}

// TestTolerancePsql: what a user of \copy sees.
func TestTolerancePsql(t *testing.T) {
	t.Parallel()
	if _, err := osexec.LookPath("psql"); err != nil {
		t.Skipf("psql is not there: %v", err)
	}
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createT)
	dir := t.TempDir()
	data, script := filepath.Join(dir, "t.csv"), filepath.Join(dir, "t.sql")
	for path, text := range map[string]string{
		data: "id,note\n1,\"a\nb\"\nx,b\n3,forbidden\n4,d\n",
		script: "SET pgbulk.max_error_records = 2;\n\\copy t FROM '" + data + "' (FORMAT csv, HEADER)\n" +
			"SELECT line, column_name, sqlstate, raw_line FROM relyt_sys.relyt_loader_rejects ORDER BY line;\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	out, err := pgtest.Psql(ctx, "psql", script, b.via())
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{"pgbulkproxy: 2 rows were skipped", "COPY 2", "4|id|22P02|x,b", "5||23514|3,forbidden"} {
		if !strings.Contains(strings.ReplaceAll(out, " ", ""), strings.ReplaceAll(want, " ", "")) {
			t.Errorf("psql does not say %q:\n%s", want, out)
		}
	}
}

// TestToleranceStaged: with pgbulk.ack = 'staged' a load without its bad rows is
// answered when it is loaded.
func TestToleranceStaged(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, createT+"; "+setStaged+"; SET pgbulk.max_error_records = 2")
	for _, tc := range []struct{ data, want, rows string }{
		{"1\ta\nx\tb\n1\tc\n", "COPY 1", "1 2"},
		{"x\ta\ny\tb\nz\tc\n", "22P02", "1 2"},
		{"2\ta\n", "COPY 1", "2 2"},
	} {
		o := copyIn(c, copyText, strings.NewReader(tc.data))
		if o.err != nil {
			o.tag = o.err.Code
		}
		if got := must(t, c, "SELECT concat_ws(' ', (SELECT count(*) FROM t), (SELECT count(*) FROM relyt_sys.relyt_loader_rejects))"); o.tag != tc.want || got != tc.rows {
			t.Errorf("%q: %s, %s rows and rejects", tc.data, o, got)
		}
	}
	b.wantLedger(map[string]int{"COMPLETED": 2, "FAILED": 1})
	if got := must(t, c, "SELECT count(*) FROM pgbulk.load WHERE ack = 'staged'"); got != "0" {
		t.Errorf("%s loads were answered when they were staged", got)
	}
}
