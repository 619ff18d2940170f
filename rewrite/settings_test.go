package rewrite

import (
	"strings"
	"testing"
)

func TestInner(t *testing.T) { // not parallel: it counts allocations
	for _, tc := range []struct {
		sql           string
		inner, copies bool
	}{
		{"", false, false},
		{"SELECT 1", false, false},
		{"SELECT 1;", false, false},
		{"SELECT 1; \n", false, false},
		{"SELECT 1; -- end", false, false},
		{"SELECT 1; /* open", true, false},
		{"SELECT 1; SELECT 2", true, false},
		{"SELECT ';copy t'", true, true},
		{"SELECT 1;;\t/* x */ COPY t FROM STDIN", true, true},
		{"SELECT 1; SELECT 2;copy t FROM STDIN", true, true},
		{"SELECT 1; copyist", true, false},
	} {
		sql := []byte(tc.sql)
		inner, copies := Inner(sql)
		if inner != tc.inner || copies != tc.copies {
			t.Errorf("%q: %t %t", tc.sql, inner, copies)
		}
		if n := testing.AllocsPerRun(10, func() { Inner(sql) }); n != 0 {
			t.Errorf("%q: %v allocations", tc.sql, n)
		}
	}
}

func TestCopiesIn(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]bool{
		"SELECT 1; COPY t FROM STDIN":                         true,
		"COPY t FROM STDIN; SELECT 1":                         true,
		"COPY t (a, b) FROM STDIN WITH (FORMAT csv); x":       true,
		"SELECT 1; COPY t TO STDOUT; COPY t FROM PROGRAM 'x'": false,
		"SELECT 1; COPY (SELECT 1) TO STDOUT":                 false,
		"SELECT ';COPY t FROM STDIN'":                         false,
		"SELECT $$;COPY t FROM STDIN$$; SELECT 1":             false,
		"SELECT 1; /* COPY t FROM STDIN; */ SELECT 2":         false,
		"SELECT 'never closed; COPY t FROM STDIN":             false, // the server says so
		"SELECT '\x80'; COPY t FROM STDIN":                    true,
	} {
		if got, alone := CopiesIn(sql, ReasonMultiStatement); got != want || alone {
			t.Errorf("%q: %t, alone %t", sql, got, alone)
		}
	}
	for sql, want := range map[string][2]bool{
		"COPY t FROM STDIN":        {true, true},
		"COPY t FROM STDIN (x":     {true, true},
		"COPY t FROM STDIN ('":     {false, false},
		"COPY \x80 TO PROGRAM 'x'": {true, false},
	} {
		if got, alone := CopiesIn(sql, ReasonParseError); got != want[0] || alone != want[1] {
			t.Errorf("%q: %t, alone %t", sql, got, alone)
		}
	}
	if got, _ := CopiesIn("COPY t FROM STDIN", ReasonModeOff); got {
		t.Error("switched off")
	}
}

func TestRefuseSettings(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]string{
		"- - - -":               "",
		"auto error 0 -":        "",
		"off nothing 1 x":       "",
		"sometimes nothing 1 x": "",
		"- nothing - -":         "pgbulkproxy: setting pgbulk.on_conflict is not supported here (long_name)",
		"force - 1 -":           "pgbulkproxy: setting pgbulk.max_error_records is not supported here (long_name)",
		"- - - x":               "pgbulkproxy: setting pgbulk.label is not supported here (long_name)",
		"- maybe - -":           "pgbulkproxy: setting pgbulk.on_conflict must be nothing, update or error",
	} {
		var values [][]byte
		for _, v := range strings.Fields(row) {
			values = append(values, []byte(strings.TrimPrefix(v, "-")))
		}
		got := ""
		if r := RefuseSettings(values, ReasonLongName); r != nil {
			got = r.Error()
		}
		if got != want {
			t.Errorf("%s: %s", row, got)
		}
	}
}
