package main

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// explainRead is explain for a statement that reads or changes a routed table, as
// a proxy with routing.reads takes it. It returns nil for any other.
func explainRead(ctx context.Context, conn *pgconn.PgConn, sql string) (*explanation, error) {
	if !rewrite.InsertReadable(conn.ParameterStatus) {
		return nil, nil
	}
	stmt, _ := rewrite.ParseRead(sql, rewrite.ReadOptions{
		MaxBytes: int(config.Default().Statement.MaxBytes), May: func(string) bool { return true },
		StandardStrings: conn.ParameterStatus("standard_conforming_strings") == "on",
		UTF8:            conn.ParameterStatus("client_encoding") == "UTF8" && conn.ParameterStatus("server_encoding") == "UTF8",
	})
	if stmt == nil {
		return nil, nil
	}
	row, err := queryText(ctx, conn, stmt.InspectSQL())
	if err != nil {
		return nil, err
	}
	in, err := stmt.ParseReadInspection(row, config.Default().Routing.Column)
	if err != nil {
		return nil, err
	}
	if !in.Routed() {
		return nil, nil
	}
	x := &explanation{Decision: rewrite.Pass, read: true}
	plan, reason := stmt.Plan(in, rewrite.PlanOptions{})
	if x.Reason = reason; plan == nil {
		return x, nil
	}
	x.Decision, x.Reason, x.Plan = rewrite.Stream, plan.Reason, append(plan.Locks, plan.Main.SQL)
	if plan.Aux.SQL != "" {
		x.Plan = append(x.Plan, plan.Aux.SQL)
	}
	return x, nil
}
