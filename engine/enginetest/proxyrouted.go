package enginetest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
)

// proxyRouted loads into a table with an auxiliary one through the proxy, and into one
// table past it: outcomes are the same, the rows of both together, too, and each is
// where its group's route says.
func proxyRouted(t *testing.T, c ProxyConfig) {
	proxied, one := c.session(t, c.Proxy)
	direct, two := c.session(t, c.Direct)
	admin := dial(t, c.Direct)
	table := "r_" + strings.ToLower(rand.Text()[:12]) // the names of routing tables have no schema
	const aux, columns = "_relyt_massive_group", " (a int, group_id int, b text CHECK (b <> 'no'), PRIMARY KEY (a, group_id))"
	_, _ = run(admin, "CREATE SCHEMA relyt_sys") // it may be there
	for _, name := range []string{one + "." + table, one + "." + table + aux, two + "." + table} {
		exec(t, admin, "CREATE TABLE "+name+columns+c.distribute(name))
	}
	routes := "relyt_sys." + table + "_relyt_routing"
	exec(t, admin, "CREATE TABLE "+routes+" (routing_id text PRIMARY KEY, store_table_name text NOT NULL); INSERT INTO "+routes+
		" SELECT g::text, '"+table+aux+"' FROM generate_series(0, 8, 2) g")
	t.Cleanup(func() { exec(t, dial(t, c.Direct), "DROP TABLE "+routes) })
	rows := func(from, n int, more string) string {
		var b strings.Builder
		for i := from; i < from+n; i++ {
			fmt.Fprintf(&b, "%d\t%d\t%s\n", i, i%10, strings.Repeat("x", 50))
		}
		return b.String() + more
	}
	values := func(from int, last string) string {
		var b strings.Builder
		for i := from; i < from+600; i++ {
			fmt.Fprintf(&b, "(%d, %d, 'v'), ", i, i%10)
		}
		return "INSERT INTO " + table + " VALUES " + b.String() + last
	}
	load := "COPY " + table + " FROM STDIN"
	for _, s := range []step{
		in(load, rows(0, 10_000, "")), in(load, rows(20_000, 3, "")), sql(values(30_000, "(1, 999, NULL)")),
		in(load, rows(40_000, 5000, "2\t2\tagain\n")), in(load, rows(40_000, 5000, "50000\t4\tno\n")), in(load, rows(40_000, 10, "x\t4\ty\n")),
		sql(values(40_000, "(3, 3, 'again')")),
		sql("BEGIN"), in(load, rows(50_000, 3000, "")), sql("SAVEPOINT s"), in(load, rows(60_000, 3000, "")), sql("ROLLBACK TO s"),
		sql(values(70_000, "(70600, 4, 'no')")), sql("ROLLBACK TO s"), sql(values(80_000, "(80600, 4, '')")), sql("COMMIT"),
		sql("BEGIN"), in(load, rows(90_000, 3000, "")), sql("ROLLBACK"),
	} {
		got := strings.Replace(s.outcome(proxied), aux, "", 1)
		if want := s.outcome(direct); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	both := "(SELECT * FROM " + one + "." + table + " UNION ALL SELECT * FROM " + one + "." + table + aux + ") AS both_"
	if got, want := exec(t, admin, contents+both), exec(t, admin, contents+two+"."+table); got != want {
		t.Errorf("the tables have %s, not %s", got, want)
	}
	for name, wrong := range map[string]string{table: "=", table + aux: "<>"} {
		if got := exec(t, admin, "SELECT count(*) FROM "+one+"."+name+" WHERE (group_id % 2 = 0 AND group_id < 10)::int "+wrong+" 1"); got != "0" {
			t.Errorf("%s rows of %s are in the wrong table", got, name)
		}
	}
}
