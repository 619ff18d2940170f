package proxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestInsertsInBinary: rows of literals go as COPY binary, those of an INSERT with a
// value that has no surely equal form as text, and so do all where that is set.
func TestInsertsInBinary(t *testing.T) {
	t.Parallel()
	// 100 rows of it, the last one with a moment of its own.
	insert := func(moment string) string {
		var sql strings.Builder
		sql.WriteString("INSERT INTO kinds VALUES ")
		for i := range 99 {
			fmt.Fprintf(&sql, "(%d, %d.50, E'a\\tb''', TRUE, '{1,NULL}', '2024-02-29 12:00:00.5+02', 'ein \"Ton\"'), ", i, i)
		}
		return sql.String() + "(NULL, '-1e3', '', 'no', NULL, '" + moment + "', '')"
	}
	const plain, never = "2024-02-29", "29 Feb 2024 12:00:00 UTC"
	for _, transcode := range []string{config.MethodAuto, config.TranscodeOn, config.TranscodeOff} {
		t.Run(transcode, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { c.Load.Transcode = transcode })
			direct, c := b.direct(), b.proxied()
			must(t, direct, `CREATE TYPE tone AS ENUM ('', 'ein "Ton"'); CREATE TABLE kinds (i int, n numeric(8,1), s varchar(4), b bool, a int[], at timestamptz, e tone)`)
			pid := must(t, c, "SET TimeZone = UTC; SELECT pg_backend_pid()")
			for _, step := range []struct {
				before, moment string
				binary         bool
			}{
				{"BEGIN", plain, true}, {"", plain, true}, {"", never, false}, {"", plain, false},
				{"COMMIT; BEGIN", plain, true}, {"SET LOCAL TimeZone = 'Asia/Kolkata'", plain, false}, {"COMMIT", plain, true},
			} {
				if step.before != "" {
					must(t, c, step.before)
				}
				must(t, c, insert(step.moment))
				ran := must(t, direct, "SELECT query FROM pg_stat_activity WHERE pid = "+pid)
				if copies, binary := strings.Count(ran, "COPY"), strings.Count(ran, "binary"); copies == 0 || binary > 0 != (step.binary && transcode != config.TranscodeOff) {
					t.Errorf("%+v: the server ran %.200s", step, ran)
				}
			}
			bad := strings.TrimSuffix(insert(plain), "'')") + "'Ton')" // no such label
			_, native := direct.Exec(t.Context(), bad).ReadAll()
			_, err := c.Exec(t.Context(), bad).ReadAll()
			if a, b := new(pgconn.PgError), new(pgconn.PgError); !errors.As(native, &a) || !errors.As(err, &b) || *a != *b {
				t.Errorf("a label that there is not: %v, directly %v", err, native)
			}
			want := "700,7,7," + strings.Repeat("2024-02-29,", 7)
			got := must(t, direct, `SET TimeZone = UTC; SELECT concat(count(*), ',', count(*) FILTER (WHERE (i, n, s, b, a::text, at, e) IS NOT DISTINCT FROM
				(7, 7.5, E'a\tb''', true, '{1,NULL}', timestamptz '2024-02-29 10:00:00.5+00', tone 'ein "Ton"')), ',',
				count(*) FILTER (WHERE (n, s, b) = (-1000, '', false)), ',', string_agg(CASE WHEN i IS NULL THEN (at + interval '6 hours')::date || ',' END, '')) FROM kinds`)
			if got != want {
				t.Errorf("the table has %s, want %s", got, want)
			}
		})
	}
}
