package routing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Shown is a pair as Show finds it.
type Shown struct {
	Table  string `json:"table"`
	Routed bool   `json:"routed"`
	// Aux and Routes are the tables' names, View the view's if there is one.
	Aux    string `json:"auxiliary_table,omitempty"`
	Routes string `json:"routing_table,omitempty"`
	View   string `json:"view,omitempty"`
	// Column and AuxColumn are the routing columns.
	Column    string `json:"routing_column,omitempty"`
	AuxColumn string `json:"auxiliary_routing_column,omitempty"`
	// Registered is when; nil for a pair that was made by hand.
	Registered *time.Time `json:"registered,omitempty"`
	// Problems are what is wrong with the pair: loads fail by Fatal ones.
	Fatal    string   `json:"fatal,omitempty"`
	Problems []string `json:"problems,omitempty"`
	// AuxRows is the number of rows in the auxiliary table, Groups those that have
	// rows or a route there.
	AuxRows int64        `json:"auxiliary_rows"`
	Groups  []ShownGroup `json:"groups,omitempty"`
}

// ShownGroup is a group in the auxiliary table.
type ShownGroup struct {
	// Group is nil for rows without one.
	Group *string `json:"group"`
	Rows  int64   `json:"rows"`
	// Routed: its route names the auxiliary table. If not, its rows are out of place.
	Routed bool `json:"routed"`
	// Moving: a migration is about to move it, or was.
	Moving bool `json:"moving,omitempty"`
}

// Show returns what there is about a table, and counts the rows of its auxiliary
// table. It only reads.
func Show(ctx context.Context, conn *pgx.Conn, t MigrateTarget) (*Shown, error) {
	names, err := lookUp(ctx, conn, t.Table)
	if err != nil {
		return nil, err
	}
	s := &Shown{Table: names.Main()}
	var in *rewrite.Inspection
	var found *rewrite.Routes
	err = transaction(ctx, conn, func() error {
		if in, err = inspect(ctx, conn, names, t.Column); err != nil || in.Routing == nil {
			return err
		}
		if err := s.read(ctx, conn, names, in); err != nil || s.Fatal != "" {
			return err
		}
		found, err = enter(ctx, conn, in)
		return err
	})
	if err != nil || found == nil {
		return s, err
	}
	if bad := found.Err(in); bad != nil {
		s.Fatal = bad.Get('M')
	}
	// A count may take long: no migration has to wait for its end.
	return s, transaction(ctx, conn, func() error { return s.count(ctx, conn, in.Routing, in.Routing.AuxStores(in), found.Moving) })
}

func (s *Shown) read(ctx context.Context, conn *pgx.Conn, n Names, in *rewrite.Inspection) error {
	r := in.Routing
	s.Routed, s.Routes, s.Column, s.AuxColumn, s.Fatal = true, r.Routes, r.Column, r.AuxColumn, r.Problem
	if view, err := oidOf(ctx, conn, n.View()); err != nil {
		return err
	} else if view != 0 {
		s.View = n.View()
	}
	if r.Aux.OID == 0 {
		return nil
	}
	s.Aux = r.Aux.Name()
	if r.Moving {
		rows, err := conn.Query(ctx, "SELECT registered FROM pgbulk.routed WHERE main = $1", in.OID)
		if err != nil {
			return err
		}
		if at, err := pgx.CollectRows(rows, pgx.RowTo[time.Time]); err == nil && len(at) == 1 {
			s.Registered = &at[0]
		} else if err != nil {
			return fmt.Errorf("read the registration: %w", err)
		}
	}
	if r.Problem != "" {
		return nil
	}
	return s.compare(ctx, conn, in)
}

// compare notes what Enable would refuse.
func (s *Shown) compare(ctx context.Context, conn *pgx.Conn, in *rewrite.Inspection) error {
	main, err := factsOf(ctx, conn, in.OID)
	if err != nil {
		return err
	}
	aux, err := factsOf(ctx, conn, in.Routing.Aux.OID)
	if err != nil {
		return err
	}
	for _, text := range main.unfit() {
		s.Problems = append(s.Problems, "the main table "+text)
	}
	for _, text := range aux.unfit() {
		s.Problems = append(s.Problems, "the auxiliary table "+text)
	}
	p := pairColumns{in.Routing.Column, in.Routing.AuxColumn}
	s.Problems = append(s.Problems, differences(main, aux, p)...)
	for _, key := range apart(main, p) {
		s.Problems = append(s.Problems, "duplicates across the two tables are not seen by key "+key)
	}
	return nil
}

// count reads the auxiliary table's groups, the largest first.
func (s *Shown) count(ctx context.Context, conn *pgx.Conn, r *rewrite.Routing, stores, moving []string) error {
	col := "a." + pgident.Quote(r.AuxColumn)
	rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT coalesce(c.g, r.g), coalesce(c.n, 0), r.g IS NOT NULL, coalesce(c.g, r.g) = ANY ($2::text[])
FROM (SELECT %s::text COLLATE "C" AS g, count(*) AS n FROM %s a GROUP BY 1) c
FULL JOIN (SELECT routing_id::text COLLATE "C" AS g FROM %s WHERE store_table_name::text = ANY ($1::text[])) r ON r.g = c.g
ORDER BY 2 DESC, 1`, col, r.Aux.Name(), r.Routes), stores, moving)
	if err != nil {
		return fmt.Errorf("count the groups of %s: %w", s.Aux, err)
	}
	s.Groups, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g ShownGroup, err error) {
		var moving *bool
		err = row.Scan(&g.Group, &g.Rows, &g.Routed, &moving)
		g.Moving = moving != nil && *moving
		return g, err
	})
	if err != nil {
		return fmt.Errorf("count the groups of %s: %w", s.Aux, err)
	}
	for _, g := range s.Groups {
		s.AuxRows += g.Rows
	}
	return nil
}
