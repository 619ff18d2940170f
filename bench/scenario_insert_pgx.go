package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// paramRows is what ORMs send at most in one statement, batchRows what fits
	// well into one batch.
	paramRows = 1000
	batchRows = 10_000
)

// insertPgx measures prepared INSERTs with parameters, sent by pgx in its
// preferred formats: binary but for text.
type insertPgx struct {
	name    string
	summary string
	send    func(ctx context.Context, tx pgx.Tx, rows [][]any) error
}

func insertPgxs() []scenario {
	var all []scenario
	for _, s := range []insertPgx{
		{"insert-params-1000", fmt.Sprintf("pgx with prepared INSERTs of %d rows of parameters each in one transaction", paramRows), sendParams},
		{"insert-batch", fmt.Sprintf("pgx SendBatch of %d single rows a batch in one transaction", batchRows), sendBatches},
	} {
		all = append(all, scenario{name: s.name, summary: s.summary, run: s.run})
	}
	return all
}

func (s insertPgx) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.insertData(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := data.values(ctx)
	if err != nil {
		return nil, err
	}
	return insertComparison{
		name: s.name, engine: "postgres", rows: data.rows, server: l.cluster.endpoint, ceiling: true,
		insert: func(ctx context.Context, ep endpoint) (time.Duration, error) { return s.insert(ctx, ep, rows) },
	}.run(ctx, l)
}

// insert times the transaction on a new connection, without the connecting.
func (s insertPgx) insert(ctx context.Context, ep endpoint, rows [][]any) (took time.Duration, err error) {
	conn, err := pgx.Connect(ctx, ep.dsn())
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	start := time.Now()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return s.send(ctx, tx, rows) })
	return time.Since(start), err
}

func sendParams(ctx context.Context, tx pgx.Tx, rows [][]any) error {
	sql := insertInto + " " + parameters(paramRows, len(rows[0]))
	var args []any
	for chunk := range slices.Chunk(rows, paramRows) {
		args = args[:0]
		for _, row := range chunk {
			args = append(args, row...)
		}
		if len(chunk) != paramRows { // the last one
			sql = insertInto + " " + parameters(len(chunk), len(chunk[0]))
		}
		if _, err := tx.Exec(ctx, sql, args...); err != nil {
			return err
		}
	}
	return nil
}

func sendBatches(ctx context.Context, tx pgx.Tx, rows [][]any) error {
	sql := insertInto + " " + parameters(1, len(rows[0]))
	for chunk := range slices.Chunk(rows, batchRows) {
		var batch pgx.Batch
		for _, row := range chunk {
			batch.Queue(sql, row...)
		}
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
	}
	return nil
}

// parameters is a list of VALUES: ($1,$2),($3,$4) for 2 rows of 2 columns.
func parameters(rows, columns int) string {
	var b strings.Builder
	for n := range rows * columns {
		switch {
		case n == 0:
			b.WriteString("(")
		case n%columns == 0:
			b.WriteString("),(")
		default:
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "$%d", n+1)
	}
	b.WriteString(")")
	return b.String()
}
