package routing

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Disabled is what Disable has removed.
type Disabled struct {
	Names Names
	// View, Routes, Registered and Aux: it was there and is no more.
	View, Routes, Registered, Aux bool
}

// disableLockTimeout bounds each wait for a lock: loads that come meanwhile
// wait behind it.
const disableLockTimeout = "10s"

// Disable makes a pair an ordinary table again: it drops the view, the routing
// table and the registration, and with drop the auxiliary table, in one
// transaction. It refuses to while the auxiliary table has rows or groups are
// routed to it.
func Disable(ctx context.Context, conn *pgx.Conn, t MigrateTarget, drop bool) (*Disabled, error) {
	if err := Manages(conn); err != nil {
		return nil, err
	}
	names, err := lookUp(ctx, conn, t.Table)
	if err != nil {
		return nil, err
	}
	d := &Disabled{Names: names}
	if err := transaction(ctx, conn, func() error { return d.run(ctx, conn, drop) }); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Disabled) run(ctx context.Context, conn *pgx.Conn, drop bool) error {
	found := map[string]uint32{}
	for _, name := range []string{d.Names.Main(), d.Names.Aux(), d.Names.Routes(), d.Names.View()} {
		oid, err := oidOf(ctx, conn, name)
		if err != nil {
			return err
		}
		found[name] = oid
	}
	main := found[d.Names.Main()]
	// Nothing is written to the table from here on, and loads under way have ended.
	sql := []string{"SET LOCAL lock_timeout = '" + disableLockTimeout + "'"}
	if found[d.Names.Aux()] != 0 {
		sql = append(sql, "LOCK TABLE ONLY "+d.Names.Main()+" IN SHARE ROW EXCLUSIVE MODE",
			fmt.Sprintf("SELECT pg_advisory_xact_lock(%s)", rewrite.TableLock(main)),
			"LOCK TABLE ONLY "+d.Names.Aux()+" IN SHARE ROW EXCLUSIVE MODE")
	}
	if err := execAll(ctx, conn, sql); err != nil {
		return err
	}
	if err := d.inUse(ctx, conn, found); err != nil {
		return err
	}
	return d.drop(ctx, conn, found, drop)
}

// inUse is the error where the pair has to stay.
func (d *Disabled) inUse(ctx context.Context, conn *pgx.Conn, found map[string]uint32) error {
	if found[d.Names.Aux()] != 0 {
		var rows bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+d.Names.Aux()+")").Scan(&rows); err != nil {
			return fmt.Errorf("look for rows in %s: %w", d.Names.Aux(), err)
		}
		if rows {
			return pgerr.New(pgerr.PrerequisiteState, "the auxiliary table %s has rows", d.Names.Aux()).
				With('H', "pgbulkproxy migrate --back moves them to the main table.")
		}
	}
	if found[d.Names.Routes()] == 0 {
		return nil
	}
	main := rewrite.Relation{Schema: d.Names.Schema, Table: d.Names.Table}
	var group *string
	err := conn.QueryRow(ctx, "SELECT min(routing_id::text) FROM "+d.Names.Routes()+" WHERE (store_table_name::text = ANY ($1)) IS NOT TRUE", main.Stores()).Scan(&group)
	if err != nil {
		return fmt.Errorf("look for routes in %s: %w", d.Names.Routes(), err)
	}
	if group != nil {
		return pgerr.New(pgerr.PrerequisiteState, "groups are routed to other tables by %s, group %q among them", d.Names.Routes(), *group).
			With('H', "pgbulkproxy migrate --back removes the routes, too.")
	}
	return nil
}

// drop removes what there is.
func (d *Disabled) drop(ctx context.Context, conn *pgx.Conn, found map[string]uint32, dropAux bool) error {
	var sql []string
	if d.View = found[d.Names.View()] != 0; d.View {
		sql = append(sql, "DROP VIEW "+d.Names.View())
	}
	shared, err := d.shared(ctx, conn)
	if err != nil {
		return err
	}
	if d.Routes = found[d.Names.Routes()] != 0 && !shared; d.Routes {
		sql = append(sql, "DROP TABLE "+d.Names.Routes())
	}
	if d.Aux = found[d.Names.Aux()] != 0 && (dropAux || shared); d.Aux {
		if !dropAux {
			return pgerr.New(pgerr.PrerequisiteState, "the routing table %s is that of another schema's table, too", d.Names.Routes()).
				With('H', "With --drop the auxiliary table goes, and the routing table stays.")
		}
		sql = append(sql, "DROP TABLE "+d.Names.Aux())
	}
	if err := execAll(ctx, conn, sql); err != nil {
		return err
	}
	installed, err := Installed(ctx, conn)
	if err != nil || !installed {
		return err
	}
	main := found[d.Names.Main()]
	tag, err := conn.Exec(ctx, "DELETE FROM pgbulk.routed WHERE main = $1", main)
	if err != nil {
		return fmt.Errorf("remove the registration: %w", err)
	}
	d.Registered = tag.RowsAffected() > 0
	if _, err := conn.Exec(ctx, "DELETE FROM pgbulk.routing_moving WHERE main = $1", main); err != nil {
		return fmt.Errorf("remove the groups that move: %w", err)
	}
	// A snapshot of before has routes that are no more.
	if _, err := conn.Exec(ctx, "UPDATE pgbulk.routing_generation SET generation = generation + 1 WHERE main = $1", main); err != nil {
		return fmt.Errorf("count up the generation: %w", err)
	}
	return nil
}

// shared says whether a table of the same name in another schema has an
// auxiliary table: the routes are those of both.
func (d *Disabled) shared(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var shared bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class a JOIN pg_class m ON m.relnamespace = a.relnamespace JOIN pg_namespace n ON n.oid = m.relnamespace
WHERE a.relname = ($2::text || $3::text)::name AND m.relname = $2::text AND n.nspname <> $1::text)`, d.Names.Schema, d.Names.Table, rewrite.AuxSuffix).Scan(&shared)
	if err != nil {
		return false, fmt.Errorf("look for tables of the same name: %w", err)
	}
	return shared, nil
}
