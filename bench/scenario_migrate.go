package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	migrateSource = "migrate_source"
	migrateTable  = "migrate_rows"
	migrateAux    = migrateTable + "_relyt_massive_group"
	migrateRoutes = "relyt_sys." + migrateTable + "_relyt_routing"
	// Half of the rows are in giantGroups groups, the rest in smallGroups others.
	giantGroups = 5
	smallGroups = 100_000
	// besideRows are the rows of one load that goes on beside a migration.
	besideRows = 2000
)

// migration measures moving the giant groups of a table beside a plain INSERT …
// SELECT and DELETE of the same rows.
type migration struct {
	indexed bool
	// beside has loads of other groups going on meanwhile, and compares them.
	beside bool
}

func (m migration) scenario() scenario {
	s := scenario{name: "migrate-scan", summary: "pgbulkproxy migrate of 5 groups with half of the rows, without an index", run: m.run}
	if m.indexed {
		s.name, s.summary = "migrate-index", "pgbulkproxy migrate of 5 groups with half of the rows, with an index on the group"
	}
	if m.beside {
		s.name += "-loads"
		s.summary += ", and COPYs of other groups beside it"
	}
	return s
}

func (m migration) run(ctx context.Context, l *lab) ([]Result, error) {
	if l.opts.NoProxy {
		return nil, skipError("it has nothing to do with a proxy")
	}
	px, err := l.startProxy(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer px.stop()
	if err := m.makeSource(ctx, l); err != nil {
		return nil, err
	}
	measures := []measure{{m.scenario().name, "rows/s", higher}}
	if m.beside {
		measures = []measure{{m.scenario().name, "of the loads alone", higher}, {m.scenario().name + "-rows", "rows/s", higher}}
	}
	timed := func(move func(context.Context) error) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) { return m.measure(ctx, l, px, move) }
	}
	results, err := l.alternate(ctx, "Migration", measures, []way{
		{"plain", timed(m.plain(l))}, {"migrate", timed(m.migrate(l))},
	})
	if err != nil {
		return nil, err
	}
	for i := range results {
		results[i].compare("migrate", "plain")
	}
	return results, l.cluster.exec(ctx, "drop table "+migrateTable+", "+migrateAux+", "+migrateRoutes)
}

// makeSource makes the rows that every run begins with.
func (m migration) makeSource(ctx context.Context, l *lab) error {
	var rows int64
	_ = l.cluster.admin.QueryRow(ctx, "select count(*) from "+migrateSource).Scan(&rows) // no table: 0
	if rows == l.opts.MigrateRows {
		return nil
	}
	return l.cluster.exec(ctx, "drop table if exists "+migrateSource,
		"create table "+migrateSource+" (id bigint, group_id int, customer text, price numeric, ordered_at timestamptz, paid bool, note text)",
		fmt.Sprintf(`insert into %s select i, case when i %% 2 = 0 then i / 2 %% %d else 1000 + i %% %d end, 'customer ' || i, i * 0.01,
			'2024-01-01'::timestamptz + i * interval '1 s', i %% 3 = 0, repeat('x', 30) from generate_series(1, %d) i`,
			migrateSource, giantGroups, smallGroups, l.opts.MigrateRows))
}

// measure moves once, from a fresh table.
func (m migration) measure(ctx context.Context, l *lab, px *proxy, move func(context.Context) error) ([]float64, error) {
	if err := m.refill(ctx, l); err != nil {
		return nil, err
	}
	giants := float64(l.opts.MigrateRows / 2)
	if !m.beside {
		began := time.Now()
		if err := move(ctx); err != nil {
			return nil, err
		}
		took := time.Since(began)
		return []float64{giants / took.Seconds()}, m.verify(ctx, l, 0)
	}
	alone := newBesideLoads(px.endpoint)
	if err := alone.during(ctx, func(ctx context.Context) error {
		select {
		case <-time.After(time.Duration(l.opts.Seconds) * time.Second):
		case <-ctx.Done():
		}
		return nil
	}); err != nil {
		return nil, err
	}
	beside := newBesideLoads(px.endpoint)
	if err := beside.during(ctx, move); err != nil {
		return nil, err
	}
	return []float64{beside.rate() / alone.rate(), giants / beside.took.Seconds()}, m.verify(ctx, l, alone.n+beside.n)
}

// refill makes the pair as it is before a migration. The vacuum leaves no work
// from the filling to the first who reads.
func (m migration) refill(ctx context.Context, l *lab) error {
	err := l.cluster.exec(ctx, "drop table if exists "+migrateTable+", "+migrateAux+", "+migrateRoutes,
		fmt.Sprintf("create table %s (like %s)", migrateTable, migrateSource),
		fmt.Sprintf("insert into %s select * from %s", migrateTable, migrateSource))
	if err == nil && m.indexed {
		err = l.cluster.exec(ctx, "create index on "+migrateTable+" (group_id)")
	}
	if err != nil {
		return err
	}
	return l.cluster.exec(ctx,
		fmt.Sprintf("create table %s (like %s including all)", migrateAux, migrateTable),
		"create table "+migrateRoutes+" (routing_id text primary key, store_table_name text not null)",
		// Loads are routed from the beginning: what is compared is not what routing costs.
		"insert into "+migrateRoutes+" values ('-1', '"+migrateAux+"')",
		"grant all on "+migrateTable+", "+migrateAux+", "+migrateRoutes+" to "+benchUser,
		"grant usage on schema relyt_sys to "+benchUser,
		"vacuum analyze "+migrateTable, "checkpoint")
}

// plain is what a user would type.
func (m migration) plain(l *lab) func(context.Context) error {
	return func(ctx context.Context) error {
		giants := fmt.Sprintf(" where group_id < %d", giantGroups)
		return l.cluster.exec(ctx, "begin", fmt.Sprintf("insert into %s select * from %s%s", migrateAux, migrateTable, giants),
			"delete from "+migrateTable+giants, "commit")
	}
}

// migrate runs the command, with its start and its counting.
func (m migration) migrate(l *lab) func(context.Context) error {
	return func(ctx context.Context) error {
		threshold := l.opts.MigrateRows / 2 / giantGroups
		cmd := exec.CommandContext(ctx, l.binary, "migrate", "--dsn", l.cluster.adminDSN(), "--tables", "public."+migrateTable,
			"--threshold", fmt.Sprint(threshold))
		return runQuietly(cmd)
	}
}

// verify: the giants are in the auxiliary table, everything else in the other.
func (m migration) verify(ctx context.Context, l *lab, loads int64) error {
	var main, aux int64
	err := l.cluster.admin.QueryRow(ctx, fmt.Sprintf(`select (select count(*) from %[1]s where group_id >= %[3]d),
		(select count(*) from %[2]s where group_id < %[3]d)`, migrateTable, migrateAux, giantGroups)).Scan(&main, &aux)
	if err != nil {
		return err
	}
	half := l.opts.MigrateRows / 2
	if want := l.opts.MigrateRows - half + loads*besideRows; main != want || aux != half {
		return fmt.Errorf("%d rows in the main table and %d in the auxiliary one, want %d and %d", main, aux, want, half)
	}
	return nil
}

// newBesideLoads is a client that loads into small groups, one COPY after the other.
func newBesideLoads(ep endpoint) *beside {
	var data strings.Builder
	for i := range besideRows {
		fmt.Fprintf(&data, "%d\t%d\tcustomer\t1.5\t2024-01-01\tt\t%030d\n", i, 1000+i, i)
	}
	return &beside{ep: ep, do: func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.PgConn().CopyFrom(ctx, strings.NewReader(data.String()), "copy "+migrateTable+" from stdin")
		return err
	}}
}
