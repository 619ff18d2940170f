package routing

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Installed says whether schema pgbulk has what routed tables need.
func Installed(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var n int
	err := conn.QueryRow(ctx, `SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'pgbulk' AND p.proname IN ('routing_moving', 'routing_enter')`).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look what is installed: %w", err)
	}
	return n == 2, nil
}

// dialectOf is how the server is asked.
func dialectOf(conn *pgx.Conn) rewrite.Dialect {
	return rewrite.DialectOf(conn.PgConn().ParameterStatus("server_version"))
}

// Manages refuses what would need a server that it was not written for: there pairs are
// made, and groups are moved, by hand.
func Manages(conn *pgx.Conn) error {
	if dialectOf(conn) == rewrite.Current {
		return nil
	}
	return pgerr.New(pgerr.FeatureNotSupported, "pairs of tables are not made, undone or migrated before PostgreSQL 10, nor on Greenplum 6").
		With('H', "Make the auxiliary table and the routing table by hand: loads through pgbulkproxy find them by their names.")
}

// lookUp resolves the name of a table as SQL has it.
func lookUp(ctx context.Context, conn *pgx.Conn, name string) (Names, error) {
	var n Names
	err := conn.QueryRow(ctx, `SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass($1)::oid`, name).Scan(&n.Schema, &n.Table)
	if errors.Is(err, pgx.ErrNoRows) {
		return n, pgerr.New(pgerr.UndefinedTable, "table %s does not exist", name)
	}
	if err != nil {
		return n, fmt.Errorf("look up table %s: %w", name, err)
	}
	return n, nil
}

// inspect asks about the pair what a load asks.
func inspect(ctx context.Context, conn *pgx.Conn, n Names, column string) (*rewrite.Inspection, error) {
	d := dialectOf(conn)
	if declare := d.DeclareSQL(); declare != "" {
		if err := execAll(ctx, conn, []string{declare}); err != nil {
			return nil, err
		}
	}
	var row string
	if err := conn.QueryRow(ctx, (&rewrite.CopyStatement{Schema: n.Schema, Table: n.Table}).InspectSQL(d)).Scan(&row); err != nil {
		return nil, fmt.Errorf("inspect table %s: %w", n.Main(), err)
	}
	in, err := rewrite.ParseInspection(row)
	if err != nil || in.Routing == nil {
		return in, err
	}
	row = ""
	if err := conn.QueryRow(ctx, in.RoutingSQL()).Scan(&row); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("inspect the routing of %s: %w", n.Main(), err)
	}
	return in, in.AddRouting(row, column)
}

// transaction runs work in a transaction whose names are all qualified. After
// an error nothing has changed.
func transaction(ctx context.Context, conn *pgx.Conn, work func() error) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL client_min_messages = warning", pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		return work()
	})
}

// oidOf returns the oid of a relation by its exact name, 0 where there is none.
func oidOf(ctx context.Context, conn *pgx.Conn, qualified string) (uint32, error) {
	var oid uint32
	if err := conn.QueryRow(ctx, "SELECT coalesce(pg_catalog.to_regclass($1)::oid::int8, 0)", qualified).Scan(&oid); err != nil {
		return 0, fmt.Errorf("look up %s: %w", qualified, err)
	}
	return oid, nil
}

func execAll(ctx context.Context, conn *pgx.Conn, statements []string) error {
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}
