package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// routedName is what a routing table's name says of its table's: what is before
// the ending. Where the server has cut that off, it is the whole name: then only
// that there is one is known.
func routedName(relname string) string {
	return "CASE WHEN pg_catalog.right(" + relname + ", 14) = '_relyt_routing' THEN pg_catalog.left(" + relname + ", -14) ELSE " + relname + " END"
}

// A name of 63 bytes may be cut, and one of 60 where its last character had four.
var routedNamesSQL = "SELECT " + routedName("c.relname::text") + ` FROM pg_catalog.pg_class c
WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'relyt_sys') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (pg_catalog.right(c.relname::text, 14) = '_relyt_routing' OR pg_catalog.octet_length(c.relname::text) >= 60) ORDER BY 1`

// RoutedNames returns the names of the tables that may be routed, without their
// schemas: those of the routing tables, also of such as nobody has registered,
// but for their endings. It needs no ledger.
func (p *Postgres) RoutedNames(ctx context.Context) ([]string, error) {
	rows, err := p.db.Query(ctx, routedNamesSQL)
	if err != nil {
		return nil, fmt.Errorf("list routed tables: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list routed tables: %w", err)
	}
	return names, nil
}

const sawRoutingSQL = `UPDATE pgbulk.proxy SET routing_seen = $2::text[] WHERE owner = $1 AND routing_seen IS DISTINCT FROM $2::text[]`

// SawRouting records that a registered proxy relays nothing any more that was
// judged without these names. An older installation has no place for that: who
// upgrades it asks afterwards.
func (p *Postgres) SawRouting(ctx context.Context, owner string, names []string) error {
	if names == nil {
		names = []string{}
	}
	_, err := p.db.Exec(ctx, sawRoutingSQL, clean(owner), names)
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "42703" { // undefined_column
		return nil
	}
	if err != nil {
		return fmt.Errorf("record known routed tables: %w", err)
	}
	return nil
}

var routingUnseenSQL = `SELECT p.owner, p.host, p.pid FROM pgbulk.proxy p,
  LATERAL (SELECT pg_catalog.concat($1::text, '_relyt_routing')::name::text AS n) r
WHERE p.lease_until > pg_catalog.clock_timestamp() AND (p.routing_seen IS NULL OR ` + routedName("r.n") + ` <> ALL (p.routing_seen))
ORDER BY p.owner`

// RoutingUnseen returns the proxies with a lease that may still relay INSERTs
// into a table of that name without a look at its routes, though its routing
// table was committed before the call. Its name alone counts, without the
// schema. Whoever moves rows asks until there are none. What such INSERTs did in
// transactions that go on is not known here: those hold the table's lock.
func RoutingUnseen(ctx context.Context, db DB, table string) ([]Proxy, error) {
	rows, err := db.Query(ctx, routingUnseenSQL, clean(table))
	if err != nil {
		return nil, fmt.Errorf("list proxies: %w", err)
	}
	proxies, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Proxy])
	if err != nil {
		return nil, fmt.Errorf("list proxies: %w", err)
	}
	return proxies, nil
}

// RoutingUnseenBy returns the owners of those proxies. Without a ledger there
// are none: no proxy can say what it knows there.
func RoutingUnseenBy(ctx context.Context, db DB, table string) ([]string, error) {
	proxies, err := RoutingUnseen(ctx, db, table)
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == "42P01" || e.Code == "3F000") { // undefined_table, invalid_schema_name
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var owners []string
	for _, p := range proxies {
		owners = append(owners, p.Owner)
	}
	return owners, nil
}
