package routing

import (
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// ViewSuffix is that of the view over both tables.
const ViewSuffix = "_relyt_all"

// KnownSQL returns the names of all tables with a routing table, one a row,
// without their schemas: those of several schemas share a routing table.
const KnownSQL = `SELECT DISTINCT c.relname::pg_catalog.text FROM pg_catalog.pg_class r, pg_catalog.pg_class c
WHERE r.relnamespace OPERATOR(pg_catalog.=) pg_catalog.to_regnamespace('` + rewrite.RoutingSchema + `')::pg_catalog.oid
AND r.relname OPERATOR(pg_catalog.=) pg_catalog.concat(c.relname, '` + rewrite.RoutingSuffix + `')::pg_catalog.name
AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog."char"[]) AND c.relpersistence OPERATOR(pg_catalog.<>) 't'`

// Names are those of a routed table's companions, before the server cuts them.
type Names struct{ Schema, Table string }

// Main is the table itself, qualified and quoted, as the other names.
func (n Names) Main() string { return pgident.Qualified(n.Schema, n.Table) }

// Aux is the auxiliary table.
func (n Names) Aux() string { return pgident.Qualified(n.Schema, n.Table+rewrite.AuxSuffix) }

// View is the view over both tables.
func (n Names) View() string { return pgident.Qualified(n.Schema, n.Table+ViewSuffix) }

// Routes is the routing table.
func (n Names) Routes() string {
	return pgident.Qualified(rewrite.RoutingSchema, n.Table+rewrite.RoutingSuffix)
}
