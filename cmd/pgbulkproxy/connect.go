package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

var errDSN = errors.New("--dsn is not a connection string (postgres://user@host/db or host=… user=… dbname=…)")

// connect opens a session for a DSN that the user gave. Its errors never repeat
// the DSN: it may hold a password.
func connect(ctx context.Context, dsn string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, errDSN
	}
	cfg.RuntimeParams["application_name"] = "pgbulkproxy"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", plainError(err))
	}
	return conn, nil
}

// connectLedger opens a session that reads and writes the ledger. As connect.
func connectLedger(ctx context.Context, dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errDSN
	}
	// Nothing is prepared: there may be a pooler in between.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	for name, value := range checkpoint.RuntimeParams() {
		cfg.RuntimeParams[name] = value
	}
	cfg.RuntimeParams["application_name"] = "pgbulkproxy"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", plainError(err))
	}
	return conn, nil
}

// plainError keeps of a server's error what helps, with its hint.
func plainError(err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	text := fmt.Sprintf("%s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	for _, more := range []string{pgErr.Detail, pgErr.Hint} {
		if more != "" {
			text += ". " + more
		}
	}
	return errors.New(text)
}

// queryText returns the first value of the first row, by the simple protocol.
func queryText(ctx context.Context, conn *pgconn.PgConn, sql string) (string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) == 0 || len(results[0].Rows) == 0 || len(results[0].Rows[0]) == 0 {
		return "", errors.New("the server returned no row")
	}
	return string(results[0].Rows[0][0]), nil
}
