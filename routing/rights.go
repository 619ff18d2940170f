package routing

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// missingRights lists what Enable and the installation of what it needs may do only
// with rights that the session's role does not have. $1 is the table's name, $2 says
// whether pgbulk has what routing needs.
const missingRights = `WITH t AS (SELECT c.oid, c.relname, c.relowner, c.relnamespace, n.nspname FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass($1)::oid),
schemas AS (SELECT pg_catalog.to_regnamespace('relyt_sys')::oid AS routes, pg_catalog.to_regnamespace('pgbulk')::oid AS pgbulk)
SELECT x.what FROM t CROSS JOIN schemas s LEFT JOIN pg_catalog.pg_class r ON r.relnamespace = s.routes AND r.relname = concat(t.relname, '_relyt_routing')::name, LATERAL (
  SELECT 1 AS at, pg_catalog.format('owner of %I.%I, or member of its owner %I', t.nspname, t.relname, t.relowner::regrole::text) AS what WHERE NOT pg_catalog.pg_has_role(t.relowner, 'USAGE')
  UNION ALL SELECT 2, pg_catalog.format('owner of %I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.oid = t.relnamespace AND c.relname IN (concat(t.relname, '_relyt_massive_group')::name, concat(t.relname, '_relyt_all')::name) OR c.oid = r.oid) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
  UNION ALL SELECT 3, pg_catalog.format('CREATE on schema %I', t.nspname) WHERE NOT pg_catalog.has_schema_privilege(t.relnamespace, 'CREATE')
  UNION ALL SELECT 4, 'CREATE on schema relyt_sys' WHERE r.oid IS NULL AND NOT pg_catalog.has_schema_privilege(s.routes, 'CREATE')
  UNION ALL SELECT 5, 'CREATE on schema pgbulk' WHERE NOT $2 AND NOT pg_catalog.has_schema_privilege(s.pgbulk, 'CREATE')
  UNION ALL SELECT 6, 'USAGE on schema pgbulk' WHERE $2 AND NOT pg_catalog.has_schema_privilege(s.pgbulk, 'USAGE')
  UNION ALL SELECT 7, pg_catalog.format('INSERT on pgbulk.%I', c.relname) FROM pg_catalog.pg_class c WHERE $2 AND c.relnamespace = s.pgbulk
    AND c.relname IN ('routed', 'routing_generation') AND NOT pg_catalog.has_table_privilege(c.oid, 'INSERT')
  UNION ALL SELECT 8, pg_catalog.format('CREATE on database %I', pg_catalog.current_database()) WHERE (s.routes IS NULL OR s.pgbulk IS NULL)
    AND NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')) x ORDER BY x.at, x.what COLLATE "C"`

// ExplainDenied adds to an error of Enable, or of the installation before it, that is
// about a missing right which ones the role lacks. Any other error it returns as it
// is.
func ExplainDenied(ctx context.Context, conn *pgx.Conn, t MigrateTarget, err error) error {
	var denied *pgconn.PgError
	if !errors.As(err, &denied) || denied.Code != pgerr.InsufficientPrivilege || conn.IsClosed() {
		return err
	}
	installed, ierr := Installed(ctx, conn)
	names, lerr := lookUp(ctx, conn, t.Table)
	if errors.Join(ierr, lerr) != nil {
		return err // what was said is all that can be
	}
	rows, _ := conn.Query(ctx, missingRights, names.Main(), installed)
	missing, rerr := pgx.CollectRows(rows, pgx.RowTo[string])
	if rerr != nil || len(missing) == 0 {
		return err
	}
	return pgerr.New(denied.Code, "%s", denied.Message).With('H', "The role is not, or has not: "+strings.Join(missing, "; ")+".")
}
