package routing

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// spreadSQL makes the auxiliary table one of Citus' of the main table's kind, with its
// rows beside the main table's; it is "" where the main table is none, or one that
// Citus looks after by itself.
func spreadSQL(ctx context.Context, conn *pgx.Conn, n Names, main uint32) (string, error) {
	var spread string
	err := conn.QueryRow(ctx, rewrite.SpreadSQL).Scan()
	if err == nil {
		err = conn.QueryRow(ctx, `SELECT CASE WHEN p.partmethod = 'h' THEN
				pg_catalog.format('SELECT pg_catalog.create_distributed_table(%L, %L, colocate_with => %L)', $2::text, pg_catalog.column_to_column_name(p.logicalrelid, p.partkey), $3::text)
			WHEN p.partmethod = 'n' AND p.repmodel = 't' THEN pg_catalog.format('SELECT pg_catalog.create_reference_table(%L)', $2::text) ELSE '' END
			FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = $1::pg_catalog.oid::pg_catalog.regclass`, main, n.Aux(), n.Main()).Scan(&spread)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return spread, err
}
