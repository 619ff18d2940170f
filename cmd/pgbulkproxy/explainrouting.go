package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// explainedRouting says how the rows of a load are placed, if it ran now.
type explainedRouting struct {
	Column string `json:"column"`
	Aux    string `json:"auxiliary_table"`
	// Routes is how many groups go to the auxiliary table, Moving which ones a
	// migration is about to move.
	Routes int64    `json:"routes"`
	Moving []string `json:"moving,omitempty"`
}

// route counts the routes of a table, by a query that takes no lock. Where they
// stand against every load the explanation is a refusal.
func (x *explanation) route(ctx context.Context, conn *pgconn.PgConn, in *rewrite.Inspection) error {
	refuse := func(err error) {
		x.Decision, x.Reason, x.Detail = rewrite.Refuse, rewrite.ReasonRouted, plainError(err).Error()
	}
	r := in.Routing
	if e := r.Err(); e != nil {
		refuse(e)
		return nil
	}
	row, err := queryText(ctx, conn, r.CountSQL(in))
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		refuse(err)
		return nil
	}
	if err != nil {
		return err
	}
	if r.Found, err = rewrite.ParseRoutes(in, row); err != nil {
		return err
	}
	if e := r.Found.Err(in); e != nil {
		refuse(e)
	}
	x.Routing = &explainedRouting{Column: r.Column, Aux: r.Aux.Name(), Routes: r.Found.ToAux, Moving: r.Found.Moving}
	return nil
}

// text is for people; main is the table that the statement names.
func (r *explainedRouting) text(main string) string {
	text := "no group has a route: all rows go to " + main
	if r.Routes > 0 {
		text = fmt.Sprintf("each row by its %s: %d of its values have a route to %s, all others go to %s", pgident.Quote(r.Column), r.Routes, r.Aux, main)
	}
	if len(r.Moving) > 0 {
		text += "; about to be moved: " + strings.Join(r.Moving, ", ")
	}
	return text
}
