package citus

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	target := engine.Target{Schema: "public", Table: "t", OID: 5, Columns: []string{"a", "b"}}
	file := engine.File{ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 1, URL: "https://h/b/k?X-Amz-Signature=s3cr3t"}
	key, group := bytes.Repeat([]byte{1}, sealed.KeySize), engine.Group{Files: []engine.File{file}}
	stmt := &rewrite.CopyStatement{Format: rewrite.FormatBinary}
	plan, err := New().Plan(target, stmt, engine.Session{Database: "db", BackendPID: 1, Role: "r"}, group, key, time.Unix(99, 0))
	if err != nil {
		t.Fatal(err)
	}
	// CREATE FOREIGN TABLE (LIKE …) is refused there, and a list of columns isn't.
	want := `INSERT INTO "public"."t" ("a", "b") SELECT "a", "b" FROM "pgbulk"."f_0e4c8a8e-0000-4000-8000-000000000001_1"`
	if plan.Insert != want || strings.Contains(plan.SQL(), "s3cr3t") {
		t.Errorf("got %s", plan.SQL())
	}
	stmt.Where = true
	if _, err := New().Plan(target, stmt, engine.Session{Database: "db"}, group, key, time.Now()); err == nil || !strings.HasPrefix(err.Error(), "engine citus: ") {
		t.Errorf("got %v", err)
	}
}
