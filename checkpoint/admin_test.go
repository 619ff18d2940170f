package checkpoint_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// list returns the ids of the loads that a role sees, separated by spaces.
func (f *fixture) list(t testing.TB, role string, filter checkpoint.Filter) string {
	t.Helper()
	entries, err := checkpoint.NewAdmin(f.pool(t, role)).List(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.ProcessID)
	}
	return strings.Join(ids, " ")
}

func TestAdminList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice, bob := f.pg.NewRole(t, ""), f.pg.NewRole(t, "")
	first, second, third := f.loaded(t, alice, "t"), f.loaded(t, alice, "T x"), f.loaded(t, bob, "b.t")
	if _, err := f.ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: second, Status: checkpoint.Failed, Message: "no"}); err != nil {
		t.Fatal(err)
	}
	mustExec(t, f.pg.Connect(t, f.db, "postgres"), "UPDATE pgbulk.load SET start_time = start_time - interval '1 day' WHERE process_id = '"+first+"'")
	for _, c := range []struct {
		name, role string
		filter     checkpoint.Filter
		want       string
	}{
		{"all, the newest first", f.service, checkpoint.Filter{}, third + " " + second + " " + first},
		{"limit", f.service, checkpoint.Filter{Limit: 2}, third + " " + second},
		{"a role's own", alice, checkpoint.Filter{}, second + " " + first},
		{"ids", alice, checkpoint.Filter{IDs: []string{first, third}}, first},
		{"no id", f.service, checkpoint.Filter{IDs: []string{}}, ""},
		{"status", f.service, checkpoint.Filter{Statuses: []checkpoint.Status{checkpoint.Failed, checkpoint.Cancelled}}, second},
		{"since", f.service, checkpoint.Filter{Since: time.Hour}, third + " " + second},
		{"table", f.service, checkpoint.Filter{Table: "T"}, first},
		{"schema and table", f.service, checkpoint.Filter{Table: ` public . "T x" `}, second},
		{"another schema", f.service, checkpoint.Filter{Table: "b.t"}, ""},
		{"a point in the name", f.service, checkpoint.Filter{Table: `"b.t"`}, third},
	} {
		if got := f.list(t, c.role, c.filter); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	entries, err := checkpoint.NewAdmin(f.pool(t, alice)).List(t.Context(), checkpoint.Filter{IDs: []string{second}})
	if err != nil {
		t.Fatal(err)
	}
	e := entries[0]
	if e.Table != `public."T x"` || e.Status != checkpoint.Failed || e.Error != "no" || e.Last == nil || e.Age < 0 || e.Age > time.Hour ||
		e.FilesTotal != 2 || e.FilesImported != 1 || e.Records != 10 || e.RecordsImported != 5 || e.Bytes != 100 || e.BytesImported != 50 {
		t.Errorf("%+v", e)
	}
}

func TestAdminFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.loaded(t, "postgres", "t")
	if err := f.imported(t.Context(), id, 3); err != nil { // its Freeze was lost
		t.Fatal(err)
	}
	files, err := checkpoint.NewAdmin(f.admin).Files(t.Context(), id)
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	if a := files[0]; a.Number != 1 || a.State != "IMPORTED" || a.Key != "p/2024-01-01/"+id+"/1" || a.URL != "s3://b/"+a.Key ||
		a.Records != 5 || a.Bytes != 50 || a.Checksum != "crc32c:000000ab" || a.Created == nil || a.Imported == nil {
		t.Errorf("%+v", a)
	}
	if files[1].Imported != nil || files[1].State != "FROZEN" || files[2].Key != "" || files[2].Created != nil {
		t.Errorf("%+v", files[1:])
	}
	if files, err = checkpoint.NewAdmin(f.admin).Files(t.Context(), "nobody"); err != nil || files != nil {
		t.Errorf("%v, %v", files, err)
	}
}

// TestAdminCheck: everybody learns what is wrong with a ledger, and what helps.
func TestAdminCheck(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := checkpoint.NewAdmin(f.pool(t, f.pg.NewRole(t, "")))
	super := checkpoint.NewAdmin(f.admin)
	conn := f.pg.Connect(t, f.db, "postgres")
	for _, a := range []*checkpoint.Admin{user, super} {
		if err := a.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for version, want := range map[string]string{"0": "pgbulkproxy install upgrades it", "77": "use a newer pgbulkproxy"} {
		mustExec(t, conn, "UPDATE pgbulk.format SET version = "+version)
		if err := super.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %s: %v", version, err)
		}
	}
	mustExec(t, conn, "ALTER VIEW relyt_sys.relyt_loader_checkpoint RENAME COLUMN pg_table TO other")
	if _, err := user.List(t.Context(), checkpoint.Filter{}); err == nil || !strings.Contains(err.Error(), "another format version") {
		t.Errorf("a view of another version: %v", err)
	}
	mustExec(t, conn, "BEGIN; "+checkpoint.UninstallSQL()+"COMMIT")
	for _, a := range []*checkpoint.Admin{user, super} {
		if err := a.Check(t.Context()); !errors.Is(err, checkpoint.ErrNotInstalled) {
			t.Errorf("got %v", err)
		}
	}
}
