package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

var (
	testTarget  = Target{Schema: "pub'lic", Table: `t"x`, OID: 5, Columns: []string{"a", `b"`}}
	testSession = Session{Database: "db", BackendPID: 12, Role: "alice"}
	testFile    = File{ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 3, URL: "https://h/b/k?X-Amz-Signature=s3cr3t",
		Records: 5, Bytes: 6, CRC32C: 7}
	testKey = bytes.Repeat([]byte{1}, KeySize)
)

func TestPlan(t *testing.T) {
	t.Parallel()
	target := testTarget
	target.OverridingSystem = true
	plan, err := NewPostgres().Plan(target, &rewrite.CopyStatement{Format: rewrite.FormatBinary}, testSession, testFile, testKey, time.Unix(99, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := `INSERT INTO "pub'lic"."t""x" ("a", "b""") OVERRIDING SYSTEM VALUE SELECT "a", "b""" FROM "pgbulk"."f_0e4c8a8e-0000-4000-8000-000000000001_3"`
	if plan.Insert != want {
		t.Errorf("got %s", plan.Insert)
	}
	if strings.Contains(plan.SQL(), "s3cr3t") || strings.Contains(plan.SQL(), "Signature") {
		t.Error("the URL shows")
	}
	open := `SELECT pgbulk.open_file(E'{"v":1,"op":"open","pid":12,"database":"db","role":"alice","expires":99,` +
		`"id":"0e4c8a8e-0000-4000-8000-000000000001","file":3,"oid":5,"schema":"pub''lic","table":"t\\"x","columns":["a","b\\""],` +
		`"options":{"format":"binary"},"object":"https://h/b/k","records":5,"bytes":6,"crc32c":7}', '`
	if !strings.HasPrefix(plan.Open, open) {
		t.Errorf("got %s", plan.Open)
	}
	if !strings.HasPrefix(plan.Close, `SELECT pgbulk.close_file('{"v":1,"op":"close",`) {
		t.Errorf("got %s", plan.Close)
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	type args struct {
		t    Target
		s    Session
		f    File
		stmt rewrite.CopyStatement
		key  []byte
	}
	for i, change := range []func(*args){
		func(a *args) { a.t.OID = 0 },
		func(a *args) { a.t.Schema = "" },
		func(a *args) { a.t.Columns = nil },
		func(a *args) { a.t.Columns = []string{"caf\xe9"} },
		func(a *args) { a.t.Table = "a\x00b" },
		func(a *args) { a.s.Role = "\xff" },
		func(a *args) { a.f.ProcessID = "x" },
		func(a *args) { a.f.ProcessID += "'" },
		func(a *args) { a.f.Number = 0 },
		func(a *args) { a.f.URL = "" },
		func(a *args) { a.f.URL = "http://h/x'" },
		func(a *args) { a.f.URL = "file:///etc/passwd" },
		func(a *args) { a.key = nil },
		func(a *args) { a.stmt.Where = true },
		func(a *args) { a.stmt.Freeze = true },
		func(a *args) { a.stmt.DefaultSet = true },
		func(a *args) { a.stmt.OnError = "ignore" },
		func(a *args) { a.stmt.RejectLimit = 1 },
		func(a *args) { a.stmt.HeaderLines = 2 },
		func(a *args) { a.stmt.Delimiter = 0xA7 },
		func(a *args) { a.stmt.Null = "\xff" },
		func(a *args) { a.stmt.Format = "parquet" },
		func(a *args) { a.stmt.ForceNull = []string{"zz"} },
		func(a *args) { a.stmt.Format, a.stmt.ForceNullAll = rewrite.FormatText, true },
		func(a *args) { a.stmt.Format = rewrite.FormatText },
	} {
		a := args{testTarget, testSession, testFile, rewrite.CopyStatement{Format: rewrite.FormatCSV, Delimiter: ',', Quote: '"', Escape: '"'}, testKey}
		if _, err := NewPostgres().Plan(a.t, &a.stmt, a.s, a.f, a.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		change(&a)
		if _, err := NewPostgres().Plan(a.t, &a.stmt, a.s, a.f, a.key, time.Now()); err == nil {
			t.Errorf("change %d is taken", i)
		} else if strings.Contains(fmt.Sprint(err), "s3cr3t") {
			t.Errorf("change %d: the URL shows", i)
		}
	}
}

func TestTableOptions(t *testing.T) {
	t.Parallel()
	full := rewrite.CopyStatement{Format: rewrite.FormatCSV, Delimiter: ';', Quote: '\'', Escape: '\\', Null: "n", Header: true, HeaderLines: 1,
		Encoding: "LATIN1", OnError: "stop", LogVerbosity: "verbose"}
	for _, c := range []struct {
		stmt  rewrite.CopyStatement
		first bool
		want  string
	}{
		{rewrite.CopyStatement{Format: rewrite.FormatText, Delimiter: '\t', Null: `\N`}, true, `map[delimiter:	 format:text null:\N]`},
		{rewrite.CopyStatement{Format: rewrite.FormatBinary}, true, `map[format:binary]`},
		{full, true, `map[delimiter:; encoding:LATIN1 escape:\ format:csv header:true null:n quote:']`},
		{full, false, `map[delimiter:; encoding:LATIN1 escape:\ format:csv null:n quote:']`},
		{rewrite.CopyStatement{Format: rewrite.FormatCSV, HeaderMatch: true}, true, `map[format:csv header:match null:]`},
	} {
		got, err := tableOptions(&c.stmt, c.first)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("got %v, %v, want %s", got, err, c.want)
		}
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		e, err := ByName(name)
		if err != nil || e.Name() != name || e.Caps().External != e.Caps().InstallNeeded {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ByName("oracle"); err == nil || !strings.Contains(err.Error(), "postgres, plain") {
		t.Errorf("got %v", err)
	}
	if _, err := NewPlain().Plan(testTarget, nil, testSession, testFile, testKey, time.Now()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	if _, err := ImportSQL(testSession, File{}, testKey, time.Now()); err == nil {
		t.Error("an import without id is taken")
	}
}
