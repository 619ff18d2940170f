package rewrite

import (
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

func TestDialectOf(t *testing.T) {
	for version, want := range map[string]Dialect{
		"9.4.26": Greenplum6, "8.3.23": Greenplum6, "9.6": Greenplum6,
		"10.1": Current, "12.12": Current, "14.4 (Debian 14.4-1)": Current, "15": Current, "18beta1": Current, "": Current,
	} {
		if got := DialectOf(version); got != want {
			t.Errorf("%s: dialect %d, want %d", version, got, want)
		}
	}
}

// TestGoldenGreenplum6 shows what Greenplum 6 is asked. TestInspectGreenplum6 asks.
func TestGoldenGreenplum6(t *testing.T) {
	datadriven.RunTest(t, "../testdata/sql/greenplum6/texts", func(t *testing.T, d *datadriven.TestData) string {
		in := &Inspection{Found: true, OID: 16999, Schema: "s", Table: "t", Columns: []string{"a", "b"}}
		in.Version = 90426
		if in.Dialect() != Greenplum6 {
			t.Fatal("9.4 is another dialect")
		}
		switch d.Cmd {
		case "declare":
			return Greenplum6.DeclareSQL() + "\n"
		case "settings":
			return SettingsSQL(Greenplum6) + "\n"
		case "guard":
			return GuardSQL(Greenplum6) + "\n"
		case "copy":
			c := mustParse(t, d.Input)
			return Greenplum6.LockSQL(c.Schema, c.Table) + ";\n" + c.InspectSQL(Greenplum6) + "\n" + c.DetailSQL(in)
		case "insert":
			s, reason := ParseInsert([]byte(d.Input), InsertOptions{MaxBytes: 1 << 20, Values: values.Options{StandardStrings: true, UTF8: true}})
			if reason != ReasonNone {
				t.Fatal(reason)
			}
			return s.InspectSQL(Greenplum6) + ";\n" + s.GuardSQL(in) + ";\n" + s.RowsSQL(in) + "\n"
		}
		t.Fatalf("unknown command %s", d.Cmd)
		return ""
	})
}
