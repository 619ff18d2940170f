package clients

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
)

// runDatabaseSQL uses pgx below database/sql: plain statements, and CopyFrom
// through the driver's own connection.
func runDatabaseSQL(ctx context.Context, dsn DSN) (string, error) {
	db, err := sql.Open("pgx", dsn.KeyValue())
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	out := &transcript{}
	if _, err := db.ExecContext(ctx, createTable); err != nil {
		return "", err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	err = conn.Raw(func(driver any) error {
		session, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("driver connection is a %T", driver)
		}
		for _, first := range []int{1, 5000} {
			copyPgx(ctx, out, session.Conn(), "copy", first, manyRows)
		}
		return nil
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		return "", err
	}
	if err := insertMany(ctx, out, db); err != nil {
		return "", err
	}
	return summed(ctx, out, db)
}

// summed ends a transcript with what the table holds.
func summed(ctx context.Context, out *transcript, db *sql.DB) (string, error) {
	var text string
	if err := db.QueryRowContext(ctx, summary).Scan(&text); err != nil {
		return "", err
	}
	out.line("table: %s", text)
	return out.String(), nil
}

// insertMany is what an ORM does: prepared single-row inserts in a transaction.
func insertMany(ctx context.Context, out *transcript, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	statement, err := tx.PrepareContext(ctx, "INSERT INTO t VALUES ($1, $2, $3, $4)")
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	for i := range 200 {
		result, err := statement.ExecContext(ctx, row(100000+i)...)
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if n, err := result.RowsAffected(); n != 1 || err != nil {
			out.line("row %d: %d %v", i, n, err)
		}
	}
	_, err = statement.ExecContext(ctx, row(1)...)
	out.line("duplicate: %s", explain(err))
	return tx.Rollback()
}

// runLibPQ uses lib/pq's CopyIn: text format over a prepared statement.
func runLibPQ(ctx context.Context, dsn DSN) (string, error) {
	db, err := sql.Open("postgres", dsn.KeyValue())
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	out := &transcript{}
	if _, err := db.ExecContext(ctx, createTable); err != nil {
		return "", err
	}
	for _, load := range []struct {
		label       string
		from, count int
		commit      bool
	}{{"small", 1, 3, true}, {"large", 100, manyRows, true}, {"rolled back", 50000, manyRows, false}, {"duplicate", 3, manyRows, true}} {
		out.line("%s: %s", load.label, explainPQ(copyLibPQ(ctx, db, load.from, load.count, load.commit)))
	}
	return summed(ctx, out, db)
}

func copyLibPQ(ctx context.Context, db *sql.DB, from, count int, commit bool) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil || !commit {
			// After an error of lib/pq the connection may be gone with it.
			_ = tx.Rollback()
		}
	}()
	statement, err := tx.PrepareContext(ctx, `COPY "t" ("a", "b", "c", "d") FROM STDIN`)
	if err != nil {
		return err
	}
	for i := range count {
		if _, err := statement.ExecContext(ctx, row(from+i)...); err != nil {
			return errors.Join(err, statement.Close())
		}
	}
	if _, err := statement.ExecContext(ctx); err != nil {
		return errors.Join(err, statement.Close())
	}
	if err := statement.Close(); err != nil || !commit {
		return err
	}
	return tx.Commit()
}

func explainPQ(err error) string {
	var failed *pq.Error
	if errors.As(err, &failed) {
		return fmt.Sprintf("%s %s | %s | %s | %s.%s", failed.Code, failed.Message, failed.Detail, failed.Where, failed.Table, failed.Constraint)
	}
	return fmt.Sprint(err)
}
