package greenplum

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

func testTarget() engine.Target {
	return engine.Target{
		Schema: "pub'lic", Table: `t"x`, OID: 5, Columns: []string{"a", `b"`},
		Types: []string{"integer", "character varying(3)"}, Encoding: "UTF8", Readers: 2,
	}
}

func testGroup(files ...engine.File) engine.Group {
	if files == nil {
		files = []engine.File{
			{ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 3},
			{ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 4},
		}
	}
	return engine.Group{
		Files: files, Prefix: "s3://bucket/2026-11-21/0e4c8a8e/0002/", Endpoint: "s3.eu-central-1.amazonaws.com", Region: "eu-central-1",
		Config: "http://proxy:9091/s3conf/abc",
	}
}

func text() rewrite.CopyStatement {
	return rewrite.CopyStatement{Format: rewrite.FormatText, Delimiter: '\t', Null: `\N`}
}

func csv() rewrite.CopyStatement {
	return rewrite.CopyStatement{Format: rewrite.FormatCSV, Delimiter: ',', Quote: '"', Escape: '"'}
}

// TestPlan holds the texts for all three kinds of server: Greenplum 6, on which
// they are run, and Greenplum 7 and Cloudberry, whose grammar is the same but for
// identity columns.
func TestPlan(t *testing.T) {
	t.Parallel()
	const table = `"pg_temp"."pgbulk_0e4c8a8e-0000-4000-8000-000000000001_3"`
	open := `CREATE READABLE EXTERNAL TEMP TABLE ` + table + ` ("a" integer, "b""" character varying(3)) ` +
		`LOCATION ('s3://s3.eu-central-1.amazonaws.com/bucket/2026-11-21/0e4c8a8e/0002/ region=eu-central-1 config_server=http://proxy:9091/s3conf/abc') `
	for _, c := range []struct {
		name, format, overriding string
		stmt                     rewrite.CopyStatement
		change                   func(*engine.Target, *engine.Group)
	}{
		{name: "text", stmt: text(), format: `FORMAT 'TEXT' (DELIMITER '	' NULL E'\\N' ESCAPE E'\\' NEWLINE 'LF') ENCODING 'UTF8'`},
		{
			name: "text of Windows in another encoding", stmt: text(), format: `FORMAT 'TEXT' (DELIMITER '	' NULL E'\\N' ESCAPE E'\\' NEWLINE 'CRLF') ENCODING 'WIN1252'`,
			change: func(t *engine.Target, g *engine.Group) { t.Encoding, g.EOL = "WIN1252", "\r\n" },
		},
		{name: "csv", stmt: csv(), format: `FORMAT 'CSV' (DELIMITER ',' NULL '' QUOTE '"' ESCAPE '"' NEWLINE 'LF') ENCODING 'UTF8'`},
		{
			name: "csv with all options", format: `FORMAT 'CSV' (DELIMITER ';' NULL 'x' QUOTE '|' ESCAPE E'\\' FORCE NOT NULL "b""" HEADER NEWLINE 'LF') ENCODING 'UTF8'`,
			stmt: rewrite.CopyStatement{Format: rewrite.FormatCSV, Delimiter: ';', Quote: '|', Escape: '\\', Null: "x", Header: true, HeaderLines: 1, ForceNotNull: []string{`b"`}},
			change: func(_ *engine.Target, g *engine.Group) {
				g.Files = []engine.File{{ProcessID: g.Files[0].ProcessID, Number: 3, First: true}}
			},
		},
		{
			name: "identity, Greenplum 7 and Cloudberry", stmt: text(), format: `FORMAT 'TEXT' (DELIMITER '	' NULL E'\\N' ESCAPE E'\\' NEWLINE 'LF') ENCODING 'UTF8'`,
			change: func(t *engine.Target, _ *engine.Group) { t.OverridingSystem = true }, overriding: " OVERRIDING SYSTEM VALUE",
		},
	} {
		target, group := testTarget(), testGroup()
		if c.change != nil {
			c.change(&target, &group)
		}
		plan, err := New().Plan(target, &c.stmt, engine.Session{}, group, nil, time.Time{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := engine.Plan{
			Open:   open + c.format,
			Insert: `INSERT INTO "pub'lic"."t""x" ("a", "b""")` + c.overriding + ` SELECT "a", "b""" FROM ` + table,
			Close:  "DROP EXTERNAL TABLE " + table,
		}
		if plan != want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, plan.SQL(), want.SQL())
		}
	}
}

// TestPlanPull: the rows come by gpfdist, from a URL that has to be one.
func TestPlanPull(t *testing.T) {
	t.Parallel()
	target, stmt := testTarget(), text()
	group := engine.Group{
		Files: []engine.File{{ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 1}}, EOL: "\n",
		Pull: "gpfdist://[::1]:8080/0123456789abcdef",
	}
	plan, err := New().Plan(target, &stmt, engine.Session{}, group, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	const table = `"pg_temp"."pgbulk_0e4c8a8e-0000-4000-8000-000000000001_1"`
	want := engine.Plan{
		Open: `CREATE READABLE EXTERNAL TEMP TABLE ` + table + ` ("a" integer, "b""" character varying(3)) ` +
			`LOCATION ('gpfdist://[::1]:8080/0123456789abcdef') FORMAT 'TEXT' (DELIMITER '	' NULL E'\\N' ESCAPE E'\\' NEWLINE 'LF') ENCODING 'UTF8'`,
		Insert: `INSERT INTO "pub'lic"."t""x" ("a", "b""") SELECT "a", "b""" FROM ` + table,
		Close:  "DROP EXTERNAL TABLE " + table,
	}
	if plan != want {
		t.Errorf("got %s\nwant %s", plan.SQL(), want.SQL())
	}
	for _, bad := range []string{"http://a/b", "gpfdist://a:1/ff ff", "gpfdist://a:1/f#transform=x", "gpfdist://a:1/", "gpfdist://a'/ff"} {
		group.Pull = bad
		if _, err := New().Plan(target, &stmt, engine.Session{}, group, nil, time.Time{}); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	type args struct {
		t    engine.Target
		g    engine.Group
		stmt rewrite.CopyStatement
	}
	for i, change := range []func(*args){
		func(a *args) { a.t.Types = nil },
		func(a *args) { a.t.Columns, a.t.Types = nil, nil },
		func(a *args) { a.t.Encoding = "" },
		func(a *args) { a.g.Files = nil },
		func(a *args) { a.g.Prefix = "s3://b/k" }, // would take s3://b/k2, too
		func(a *args) { a.g.Prefix = "s3://b/a b/" },
		func(a *args) { a.g.Prefix = "s3://b/a'/" },
		func(a *args) { a.g.Prefix = "s3://b/%20/" },
		func(a *args) { a.g.Prefix = "s3://b/" },
		func(a *args) { a.g.Prefix = "" },
		func(a *args) { a.g.Endpoint = "" },
		func(a *args) { a.g.Endpoint = "http://h" },
		func(a *args) { a.g.Endpoint = "h config=/etc/passwd" },
		func(a *args) { a.g.Region = "" },
		func(a *args) { a.g.Region = "r x=y" },
		func(a *args) { a.g.Config = "" },
		func(a *args) { a.g.Config = "http://h/s3cr3t config=/etc/passwd" },
		func(a *args) { a.g.Config = "file:///s3cr3t" },
		func(a *args) { a.g.EOL = "\v" },
		func(a *args) { a.stmt.Where = true },
		func(a *args) { a.stmt.Freeze = true },
		func(a *args) { a.stmt.DefaultSet = true },
		func(a *args) { a.stmt.OnError = "ignore" },
		func(a *args) { a.stmt.RejectLimit = 1 },
		func(a *args) { a.stmt.Header, a.g.Files[0].First = true, true },
		func(a *args) { a.stmt.Header, a.stmt.HeaderMatch = true, true },
		func(a *args) { a.stmt.Header, a.stmt.HeaderLines = true, 2 },
		func(a *args) { a.stmt.Delimiter = 0xA7 },
		func(a *args) { a.stmt.Delimiter = 0 },
		func(a *args) { a.stmt.Quote = '\'' },
		func(a *args) { a.stmt.Quote = 0 },
		func(a *args) { a.stmt.Null = "it's" },
		func(a *args) { a.stmt.ForceNull = []string{"a"} },
		func(a *args) { a.stmt.ForceNotNull = []string{"z"} },
		func(a *args) { a.stmt.ForceNotNullAll = true },
		func(a *args) { a.stmt.Format = rewrite.FormatBinary },
		func(a *args) { a.stmt.Format = rewrite.FormatText },
	} {
		a := args{testTarget(), testGroup(), csv()}
		if _, err := New().Plan(a.t, &a.stmt, engine.Session{}, a.g, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		change(&a)
		_, err := New().Plan(a.t, &a.stmt, engine.Session{}, a.g, nil, time.Time{})
		if !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("change %d: %v", i, err)
		} else if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("change %d: the URL shows", i)
		}
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	answer := func() [][]byte {
		return [][]byte{[]byte("UTF8"), []byte(`["integer","text"]`), []byte("f"), []byte("2"), []byte("t"), []byte("t")}
	}
	p := New().(engine.Preparer)
	got, err := p.Prepare(engine.Target{Columns: []string{"a", "b"}}, answer())
	if err != nil || got.Readers != 2 || got.Encoding != "UTF8" || len(got.Types) != 2 || got.Types[1] != "text" {
		t.Errorf("got %+v, %v", got, err)
	}
	for i, change := range []func([][]byte) [][]byte{
		func(r [][]byte) [][]byte { return r[:5] },
		func(r [][]byte) [][]byte { r[3] = []byte("0"); return r },
		func(r [][]byte) [][]byte { r[3] = nil; return r },
		func(r [][]byte) [][]byte { r[1] = nil; return r },
		func(r [][]byte) [][]byte { r[1] = []byte(`["integer"]`); return r },
		func(r [][]byte) [][]byte { r[2] = []byte("t"); return r },
		func(r [][]byte) [][]byte { r[4] = []byte("f"); return r },
		func(r [][]byte) [][]byte { r[5] = []byte("f"); return r },
	} {
		if _, err := p.Prepare(engine.Target{Columns: []string{"a", "b"}}, change(answer())); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("change %d: %v", i, err)
		}
	}
}
