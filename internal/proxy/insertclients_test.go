package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest/clients"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// ways are the same server, directly and through a proxy of the test's own.
func ways(t *testing.T) (r *running, direct, proxied pgtest.Target, o pgtest.Options) {
	pg := testenv.Postgres(t)
	r = start(t, pg, Options{}, nil)
	direct = pgtest.Target{
		Name:        "direct",
		DSN:         func(db string) string { return pg.TCPDSN(db, "postgres") },
		NewDatabase: pg.NewDatabase,
	}
	proxied = pgtest.Target{Name: "proxied", DSN: func(db string) string { return r.dsn(pg, db, "postgres") }}
	o.Prepare = func(t testing.TB, db string) { install(t, pg, db) }
	return r, direct, proxied, o
}

// decisions lists how many statements went which way, for docs/clients.md.
func (r *running) decisions(t testing.TB) string {
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 && f.GetName() == "pgbulk_statements_total" {
				words := []string{}
				for _, l := range m.GetLabel() {
					words = append(words, l.GetValue())
				}
				lines = append(lines, fmt.Sprintf("%s %.0f", strings.Join(words, " "), n))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// TestClients: real client libraries see the same with and without the proxy.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, client := range clients.All() {
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			r, direct, proxied, o := ways(t)
			pgtest.DiffClient(t, client, direct, proxied, o)
			t.Log(r.decisions(t))
			if strings.HasSuffix(client.Name, "-coalesce") && !t.Skipped() && r.metric(t, "pgbulk_statements_total", coalesced...) < 40 {
				t.Error("hardly any INSERT was coalesced")
			}
		})
	}
}

// TestPsql: so does psql.
func TestPsql(t *testing.T) {
	t.Parallel()
	r, direct, proxied, o := ways(t)
	t.Run("scripts", func(t *testing.T) { pgtest.DiffPsql(t, "psql", "../../testdata/psql", direct, proxied, o) })
	t.Log(r.decisions(t))
}
