package main

import (
	"context"
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// explainInsert is explain for an INSERT. The values of its parameters are not
// known here: their types may still make it pass.
func explainInsert(ctx context.Context, conn *pgconn.PgConn, e engine.Engine, sql string) (*explanation, error) {
	opts := values.Options{
		StandardStrings: conn.ParameterStatus("standard_conforming_strings") == "on",
		UTF8:            conn.ParameterStatus("client_encoding") == "UTF8" && conn.ParameterStatus("server_encoding") == "UTF8",
	}
	pass := func(reason rewrite.Reason) (*explanation, error) {
		return &explanation{Decision: rewrite.Pass, Reason: reason}, nil
	}
	if !rewrite.InsertReadable(conn.ParameterStatus) {
		return pass(rewrite.ReasonClientEncoding)
	}
	stmt, reason := rewrite.ParseInsert([]byte(sql), rewrite.InsertOptions{MaxBytes: int(config.Default().Statement.MaxBytes), Values: opts})
	switch {
	case reason != rewrite.ReasonNone:
		return pass(reason)
	case !opts.UTF8 && !stmt.ASCII():
		return pass(rewrite.ReasonNameEncoding)
	}
	in, x, err := inspect(ctx, conn, e, stmt.InspectSQL(dialect(conn)))
	if in == nil {
		return x, err
	}
	switch {
	case x.Decision == rewrite.Refuse:
		return x, nil
	case in.Routed():
		x.Decision, x.Reason = rewrite.Stream, rewrite.ReasonRouted
		return x, nil
	}
	d := rewrite.ClassifyInsert(stmt, in, rewrite.Caps{Params: true})
	x.Decision, x.Method, x.Reason = d.Way, d.Method, d.Reason
	if d.Way == rewrite.Stream {
		err = x.planInsert(stmt, in, opts)
	}
	return x, err
}

// planInsert fills in the SQL that goes to the server, and finds constants that
// can't go with it.
func (x *explanation) planInsert(stmt *rewrite.InsertStatement, in *rewrite.Inspection, opts values.Options) error {
	encoder := values.NewEncoder(in.Types[:stmt.Targets()])
	source := stmt.SourceRows()
	lexer := stmt.Lexer(opts)
	arrays := make([][]byte, stmt.Targets())
	for {
		cells, err := lexer.Row(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && source != nil {
			cells, err = source.Row(cells)
		}
		if err == nil && stmt.MaxParam == 0 {
			err = encoder.AppendElements(arrays, cells)
		}
		var pass values.Pass
		if errors.As(err, &pass) {
			x.Decision, x.Method, x.Reason = rewrite.Pass, rewrite.MethodNone, rewrite.Reason(pass)
			return nil
		}
		if err != nil {
			return err
		}
	}
	x.Plan = []string{stmt.RowsSQL(in)}
	if x.Method == rewrite.MethodArrays {
		x.Plan = []string{string(stmt.AppendArraysSQL(nil, in, arrays))}
	}
	return nil
}
