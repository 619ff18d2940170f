package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"
)

// sqlCommand is `sql DSN TEXT…` in scripts: it runs the text and prints the rows,
// columns separated by "|". With `-f FILE` the text is a file's. With ! an
// error is expected, and printed to stderr.
func sqlCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: sql dsn text")
	}
	text := strings.Join(args[1:], " ")
	if args[1] == "-f" {
		text = ts.ReadFile(args[2])
	}
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, args[0])
	ts.Check(err)
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, text).ReadAll()
	if neg {
		if err == nil {
			ts.Fatalf("unexpected success")
		}
		fmt.Fprintln(ts.Stderr(), err)
		return
	}
	ts.Check(err)
	for _, r := range results {
		for _, row := range r.Rows {
			cells := make([]string, len(row))
			for i, cell := range row {
				cells[i] = string(cell)
			}
			fmt.Fprintln(ts.Stdout(), strings.Join(cells, "|"))
		}
	}
}
