package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// processedLine is pgbench's count of the transactions that it saw committed.
var processedLine = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)

// tpcb measures pgbench's own mix of three UPDATEs, a SELECT and an INSERT of
// one row in a transaction.
type tpcb struct{ connections int }

func (s tpcb) scenario() scenario {
	return scenario{
		name:    fmt.Sprintf("pgbench-tpcb-%d", s.connections),
		summary: fmt.Sprintf("pgbench TPC-B with %d connections, beside PgBouncer", s.connections),
		run:     s.run,
	}
}

func (s tpcb) run(ctx context.Context, l *lab) ([]Result, error) {
	if err := l.initPgbench(ctx); err != nil {
		return nil, err
	}
	return l.besideBouncer(ctx, measure{s.scenario().name, "tps", higher}, func(ep endpoint) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) {
			// What pgbench does itself without -n, which would be through the proxy.
			if err := l.cluster.exec(ctx, "vacuum pgbench_branches", "vacuum pgbench_tellers"); err != nil {
				return nil, err
			}
			if err := l.cluster.empty(ctx, "pgbench_history"); err != nil {
				return nil, err
			}
			out, err := l.pgbench(ctx, ep, s.connections)
			if err != nil {
				return nil, err
			}
			if err := l.cluster.verifyTPCB(ctx, out); err != nil {
				return nil, err
			}
			return parseTPS(out)
		}
	})
}

// verifyTPCB checks that every transaction left its row of history, and that
// the three balances agree as they do when no transaction was cut in two.
func (c *cluster) verifyTPCB(ctx context.Context, out string) error {
	m := processedLine.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("no number of transactions in the output of pgbench: %q", out)
	}
	want, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return fmt.Errorf("read the transactions of pgbench: %w", err)
	}
	var rows, accounts, tellers, branches int64
	err = c.admin.QueryRow(ctx, `select (select pg_catalog.count(*) from pgbench_history), (select pg_catalog.sum(abalance) from pgbench_accounts),
		(select pg_catalog.sum(tbalance) from pgbench_tellers), (select pg_catalog.sum(bbalance) from pgbench_branches)`).
		Scan(&rows, &accounts, &tellers, &branches)
	if err != nil {
		return fmt.Errorf("check the pgbench tables: %w", err)
	}
	if rows != want || accounts != tellers || tellers != branches {
		return fmt.Errorf("%d rows of history after %d transactions, balances %d, %d and %d", rows, want, accounts, tellers, branches)
	}
	return nil
}
