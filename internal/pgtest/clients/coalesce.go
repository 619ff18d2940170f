package clients

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// coalesceRows is how many rows each way inserts, one INSERT each.
const coalesceRows = 50

const (
	setCoalesce = "SET pgbulk.coalesce = 'transaction'"
	insertOne   = "INSERT INTO t (a, b, c, d) VALUES ($1, $2, $3, $4)"
)

// runPgxCoalesce inserts single rows in transactions, in each of pgx's modes.
// None fails: with the setting the error comes elsewhere.
func runPgxCoalesce(ctx context.Context, dsn DSN) (string, error) {
	return withPgx(ctx, dsn, pgx.QueryExecModeCacheStatement, func(out *transcript, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, setCoalesce); err != nil {
			return err
		}
		for i, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				for j := range coalesceRows {
					tag, err := tx.Exec(ctx, insertOne, append([]any{mode}, row(i*coalesceRows+j+1)...)...)
					if err != nil {
						return err
					}
					out.line("%s %c", tag, conn.PgConn().TxStatus())
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
		}
		return nil
	})
}

// runLibPQCoalesce does so with lib/pq, and a prepared statement.
func runLibPQCoalesce(ctx context.Context, dsn DSN) (string, error) {
	db, err := sql.Open("postgres", dsn.KeyValue())
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, insertTables+"; "+setCoalesce); err != nil {
		return "", err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	stmt, err := tx.PrepareContext(ctx, insertOne)
	if err != nil {
		return "", err
	}
	out := &transcript{}
	for i := range coalesceRows {
		result, err := stmt.ExecContext(ctx, row(i+1)...)
		if err != nil {
			return "", err
		}
		n, err := result.RowsAffected()
		out.line("%d %v", n, err)
	}
	if err := tx.Commit(); err != nil {
		return "", err
	}
	var sum string
	err = db.QueryRowContext(ctx, insertSummary).Scan(&sum)
	out.line("%s", sum)
	return out.String(), err
}
