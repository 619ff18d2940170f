package clients

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// explain writes an error with all its fields.
func explain(err error) string {
	var failed *pgconn.PgError
	if errors.As(err, &failed) {
		return fmt.Sprintf("%s %s | %s | %s | %s | %s.%s.%s.%s | %s", failed.Code, failed.Message, failed.Detail, failed.Hint,
			failed.Where, failed.SchemaName, failed.TableName, failed.ColumnName, failed.ConstraintName, failed.Routine)
	}
	return fmt.Sprint(err)
}

// transcript collects what a client saw.
type transcript struct{ strings.Builder }

func (t *transcript) line(format string, arguments ...any) {
	fmt.Fprintf(&t.Builder, format+"\n", arguments...)
}

func connectPgx(ctx context.Context, dsn DSN) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, dsn.KeyValue())
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, createTable)
	if err != nil {
		err = errors.Join(err, conn.Close(ctx))
	}
	return conn, err
}

func row(i int) []any {
	return []any{int32(i), fmt.Sprintf("name %d\t\"é\"", i), fmt.Sprintf("%d.25", i%100), time.Unix(int64(i), 0).UTC()}
}

func copyPgx(ctx context.Context, out *transcript, conn *pgx.Conn, label string, from, count int) {
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b", "c", "d"},
		pgx.CopyFromSlice(count, func(i int) ([]any, error) { return row(from + i), nil }))
	out.line("%s: %d %s", label, n, explain(err))
}

func summarize(ctx context.Context, out *transcript, conn *pgx.Conn) error {
	var text string
	if err := conn.QueryRow(ctx, summary).Scan(&text); err != nil {
		return err
	}
	out.line("table: %s", text)
	return nil
}

// runPgx uses CopyFrom (binary, extended) and the raw CopyFrom of pgconn.
func runPgx(ctx context.Context, dsn DSN) (string, error) {
	conn, err := connectPgx(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	out := &transcript{}
	copyPgx(ctx, out, conn, "small", 1, 3)
	copyPgx(ctx, out, conn, "large", 100, manyRows)
	copyPgx(ctx, out, conn, "duplicate at the end", 1000000-manyRows+4, manyRows-3)
	copyPgx(ctx, out, conn, "duplicate", 3, manyRows)
	out.line("status %c", conn.PgConn().TxStatus())
	for _, text := range []string{"2000001\tx\t1\t2020-01-01\n", "x\tx\t1\t2020-01-01\n"} {
		tag, err := conn.PgConn().CopyFrom(ctx, strings.NewReader(text), "COPY t FROM STDIN")
		out.line("raw: %s %s", tag, explain(err))
	}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a"}, pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("source failed") }))
	out.line("source fails: %d %s", n, explain(err))
	n, err = conn.CopyFrom(ctx, pgx.Identifier{"missing"}, []string{"a"}, pgx.CopyFromRows(nil))
	out.line("missing: %d %s", n, explain(err))
	if err := transactionPgx(ctx, out, conn); err != nil {
		return "", err
	}
	return finish(ctx, out, conn)
}

func finish(ctx context.Context, out *transcript, conn *pgx.Conn) (string, error) {
	if err := summarize(ctx, out, conn); err != nil {
		return "", err
	}
	return out.String(), nil
}

func transactionPgx(ctx context.Context, out *transcript, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	copyPgx(ctx, out, conn, "in a transaction", 3000000, manyRows)
	if err := summarize(ctx, out, conn); err != nil {
		return err
	}
	return tx.Rollback(ctx)
}

// runPgxBatch sends pipelined inserts, one of which fails.
func runPgxBatch(ctx context.Context, dsn DSN) (string, error) {
	conn, err := connectPgx(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	out := &transcript{}
	for _, first := range []int{1, 1001, 500} {
		batch := &pgx.Batch{}
		for i := range 1000 {
			batch.Queue("INSERT INTO t VALUES ($1, $2, $3, $4)", row(first+i)...)
		}
		results := conn.SendBatch(ctx, batch)
		affected := int64(0)
		for range 1000 {
			tag, err := results.Exec()
			affected += tag.RowsAffected()
			if err != nil {
				out.line("error: %s", explain(err))
				break
			}
		}
		out.line("batch of %d: %d, close: %s", first, affected, explain(results.Close()))
	}
	return finish(ctx, out, conn)
}
