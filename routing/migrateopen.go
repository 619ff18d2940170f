package routing

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// MigrateTarget names the table whose groups are moved.
type MigrateTarget struct {
	// Table is its name as SQL has it, with a schema or by search_path.
	Table string
	// Column is the routing column of tables that have neither routing_id nor
	// group_id (routing.column).
	Column string
}

// newMigration looks at the pair as a load would, and at what a move needs more.
func newMigration(ctx context.Context, conn *pgx.Conn, t MigrateTarget, o MigrateOptions) (*migration, error) {
	if o.Threshold < 0 || o.Threshold == 0 && !o.Back {
		return nil, pgerr.New(pgerr.InvalidParameter, "a threshold must be at least 1")
	}
	if err := Manages(conn); err != nil {
		return nil, err
	}
	names, err := findPair(ctx, conn, t)
	if err != nil {
		return nil, err
	}
	facts, err := readFacts(ctx, conn, names)
	if err != nil {
		return nil, err
	}
	return &migration{migrationSQL: newMigrationSQL(names, facts), conn: conn, table: t.Table, bare: names.bare, lacks: !names.installed, opts: o}, nil
}

// findPair takes the pair's names from the inspection.
func findPair(ctx context.Context, conn *pgx.Conn, t MigrateTarget) (pairNames, error) {
	in, err := inspectPair(ctx, conn, t)
	if err != nil {
		return pairNames{}, err
	}
	r := in.Routing
	if r == nil {
		return pairNames{}, pgerr.New(pgerr.PrerequisiteState, "table %s has no routing table", t.Table).
			With('H', "pgbulkproxy routing enable makes one.")
	}
	if problem := r.Err(); problem != nil {
		return pairNames{}, problem
	}
	main := rewrite.Relation{OID: in.OID, Schema: in.Schema, Table: in.Table}
	return pairNames{
		bare: main.Table, table: main.Name(), oid: main.OID, column: r.Column, mainNames: main.Stores(),
		auxTable: r.Aux.Name(), auxOID: r.Aux.OID, auxColumn: r.AuxColumn, auxNames: r.AuxStores(in),
		routes: r.Routes, installed: r.Moving,
	}, nil
}

// inspectPair resolves the name, and asks what the proxy asks before a load.
func inspectPair(ctx context.Context, conn *pgx.Conn, t MigrateTarget) (*rewrite.Inspection, error) {
	names, err := lookUp(ctx, conn, t.Table)
	if err != nil {
		return nil, err
	}
	return inspect(ctx, conn, names, t.Column)
}
