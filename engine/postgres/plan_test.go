package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

var (
	testTarget  = engine.Target{Schema: "pub'lic", Table: `t"x`, OID: 5, Columns: []string{"a", `b"`}}
	testSession = engine.Session{Database: "db", BackendPID: 12, Role: "alice"}
	testFile    = engine.File{ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 3, URL: "https://h/b/k?X-Amz-Signature=s3cr3t",
		Records: 5, Bytes: 6, CRC32C: 7}
	testKey = bytes.Repeat([]byte{1}, sealed.KeySize)
)

func one(f engine.File) engine.Group { return engine.Group{Files: []engine.File{f}} }

func TestPlan(t *testing.T) {
	t.Parallel()
	target := testTarget
	target.OverridingSystem = true
	plan, err := New().Plan(target, &rewrite.CopyStatement{Format: rewrite.FormatBinary}, testSession, one(testFile), testKey, time.Unix(99, 0))
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
		t    engine.Target
		s    engine.Session
		f    engine.File
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
		if _, err := New().Plan(a.t, &a.stmt, a.s, one(a.f), a.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		change(&a)
		if _, err := New().Plan(a.t, &a.stmt, a.s, one(a.f), a.key, time.Now()); err == nil {
			t.Errorf("change %d is taken", i)
		} else if strings.Contains(fmt.Sprint(err), "s3cr3t") {
			t.Errorf("change %d: the URL shows", i)
		}
	}
	for _, files := range [][]engine.File{nil, {testFile, testFile}} {
		stmt := rewrite.CopyStatement{Format: rewrite.FormatBinary}
		if _, err := New().Plan(testTarget, &stmt, testSession, engine.Group{Files: files}, testKey, time.Now()); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("%d files: %v", len(files), err)
		}
	}
}
