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

// staged makes a load one that was acknowledged when staged.
func (f *fixture) staged(t testing.TB, id string) {
	t.Helper()
	mustExec(t, f.pg.Connect(t, f.db, "postgres"), "UPDATE pgbulk.load SET ack = 'staged' WHERE process_id = '"+id+"';"+
		"INSERT INTO pgbulk.staged (process_id, staged_at, txid) VALUES ('"+id+"', now(), 1)")
}

// TestAdminDecides: what is pending can be retried and cancelled, and nothing
// else.
func TestAdminDecides(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	admin := checkpoint.NewAdmin(f.pool(t, f.service))
	conn := f.pg.Connect(t, f.db, "postgres")
	ids := map[string]string{}
	for _, name := range []string{"failed", "waits", "done", "native"} {
		ids[name] = f.loaded(t, "postgres", "t")
	}
	for _, name := range []string{"failed", "waits", "done"} {
		f.staged(t, ids[name])
	}
	mustExec(t, conn, "UPDATE pgbulk.load SET status = 'FAILED', end_time = now() WHERE process_id = '"+ids["failed"]+"'")
	mustExec(t, conn, "UPDATE pgbulk.load SET next_try = now() + interval '1 hour' WHERE process_id = '"+ids["waits"]+"'")
	mustExec(t, conn, "UPDATE pgbulk.load SET status = 'COMPLETED', end_time = now() WHERE process_id = '"+ids["done"]+"'")
	mustExec(t, conn, "UPDATE pgbulk.staged SET done = true WHERE process_id = '"+ids["done"]+"'")
	if got, want := f.list(t, f.service, checkpoint.Filter{Open: true}), ids["native"]+" "+ids["waits"]+" "+ids["failed"]; got != want {
		t.Errorf("open are %s, want %s", got, want)
	}
	for _, name := range []string{"done", "native"} {
		for what, do := range map[string]func(string) (checkpoint.Status, error){
			"retry":  func(id string) (checkpoint.Status, error) { return admin.Retry(t.Context(), id) },
			"cancel": func(id string) (checkpoint.Status, error) { return admin.Cancel(t.Context(), id) },
		} {
			if status, err := do(ids[name]); !errors.Is(err, checkpoint.ErrNothingToDo) {
				t.Errorf("%s %s: %s, %v", what, name, status, err)
			}
		}
	}
	if _, err := admin.Cancel(t.Context(), "nobody"); !errors.Is(err, checkpoint.ErrUnknownLoad) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"failed", "waits"} {
		if status, err := admin.Retry(t.Context(), ids[name]); status != checkpoint.Running || err != nil {
			t.Errorf("retry %s: %s, %v", name, status, err)
		}
		if status, err := admin.Cancel(t.Context(), ids[name]); status != checkpoint.Cancelled || err != nil {
			t.Errorf("cancel %s: %s, %v", name, status, err)
		}
	}
	if got := f.list(t, f.service, checkpoint.Filter{Open: true}); got != ids["native"] {
		t.Errorf("open are %s", got)
	}
}

// TestAdminClean: nothing goes whose rows are not in, or whose files are there.
func TestAdminClean(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	admin := checkpoint.NewAdmin(f.admin)
	conn := f.pg.Connect(t, f.db, "postgres")
	old, young, unswept, running, pending := f.loaded(t, "postgres", "t"), f.loaded(t, "postgres", "t"), f.loaded(t, "postgres", "t"),
		f.loaded(t, "postgres", "t"), f.loaded(t, "postgres", "t")
	f.staged(t, old)
	f.staged(t, pending)
	mustExec(t, conn, "UPDATE pgbulk.staged SET done = true WHERE process_id = '"+old+"'")
	mustExec(t, conn, "UPDATE pgbulk.load SET status = 'FAILED', swept_time = now(), end_time = now() - interval '2 hours' WHERE process_id <> '"+running+"'")
	mustExec(t, conn, "UPDATE pgbulk.load SET swept_time = NULL WHERE process_id = '"+unswept+"'")
	mustExec(t, conn, "UPDATE pgbulk.load SET end_time = now() WHERE process_id = '"+young+"'")
	if n, err := admin.Cleanable(t.Context(), time.Hour); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := admin.Clean(t.Context(), time.Hour); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got, want := f.list(t, "postgres", checkpoint.Filter{}), strings.Join([]string{pending, running, unswept, young}, " "); got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
	for _, table := range []string{"load_file", "import", "staged"} {
		if got := text(t, conn, "SELECT count(*) FROM pgbulk."+table+" WHERE process_id = '"+old+"'"); got != "0" {
			t.Errorf("%s has %s rows of it", table, got)
		}
	}
	// More than one batch.
	mustExec(t, conn, `INSERT INTO pgbulk.load (process_id, database, role, schema_name, table_name, owner, start_time, status, end_time, swept_time)
SELECT 'many' || n, 'd', 'r', 's', 't', 'o', now(), 'COMPLETED', now() - interval '2 hours', now() FROM generate_series(1, 2500) n`)
	if n, err := admin.Clean(t.Context(), time.Hour); n != 2500 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
