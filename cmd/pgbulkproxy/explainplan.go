package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// plan fills in the SQL of a staged statement.
func (x *explanation) plan(ctx context.Context, conn *pgconn.PgConn, e engine.Engine, stmt *rewrite.CopyStatement, in *rewrite.Inspection, d *rewrite.Decision) error {
	if x.Method == rewrite.MethodExternal {
		p, err := externalPlan(ctx, conn, e, stmt, in)
		switch {
		case errors.Is(err, engine.ErrUnsupported):
			// The load finds out as well, and goes by COPY.
			x.Method, x.Detail = rewrite.MethodCopy, engine.MaskURL(err.Error())
		case err != nil:
			return err
		default:
			x.addPlan(p, d.Ext.EmptySQL(in))
		}
	}
	if x.Method == rewrite.MethodCopy || x.Method == rewrite.MethodTable {
		x.Plan = stmt.PlanOf(in, d)
	}
	return nil
}

// externalPlan is the engine's plan of a file that there is not.
func externalPlan(ctx context.Context, conn *pgconn.PgConn, e engine.Engine, stmt *rewrite.CopyStatement, in *rewrite.Inspection) (engine.Plan, error) {
	// The key is made up: explain has no right to the database's own.
	key := make([]byte, sealed.KeySize)
	if _, err := rand.Read(key); err != nil {
		return engine.Plan{}, fmt.Errorf("make a key: %w", err)
	}
	target := engine.Target{
		Schema: in.Schema, Table: in.Table, OID: in.OID, Columns: in.Columns, OverridingSystem: in.IdentityAlways,
	}
	if p, ok := e.(engine.Preparer); ok {
		results, err := conn.Exec(ctx, p.PrepareSQL(target, in.CopyEncoding)).ReadAll()
		if err != nil {
			return engine.Plan{}, fmt.Errorf("%w: %w", engine.ErrUnsupported, plainError(err))
		}
		if len(results) != 1 || len(results[0].Rows) != 1 {
			return engine.Plan{}, fmt.Errorf("prepare: %d results", len(results))
		}
		if target, err = p.Prepare(target, results[0].Rows[0]); err != nil {
			return engine.Plan{}, err
		}
	}
	session := engine.Session{Database: in.Database, BackendPID: in.BackendPID, Role: in.Role}
	file := engine.File{
		ProcessID: "00000000-0000-0000-0000-000000000000", Number: 1,
		URL: "https://store/bucket/prefix/date/process/file", First: true,
	}
	group := engine.Group{
		Files: []engine.File{file}, Prefix: "s3://bucket/prefix/date/process/group/", Config: "http://proxy/configuration",
		Endpoint: "store", Region: "region", Access: engine.Access{ID: "masked", Secret: "masked"},
	}
	return e.Plan(target, stmt, session, group, key, time.Now().Add(time.Minute))
}

// addPlan shows a plan, behind what empties the table.
func (x *explanation) addPlan(p engine.Plan, empty string) {
	for _, sql := range []string{empty, p.Open, p.Insert, p.Count, p.Close} {
		if sql != "" {
			x.Plan = append(x.Plan, engine.MaskURL(maskSealed(sql)))
		}
	}
}

// maskSealed replaces the encrypted URL and the MAC, which are long hex texts.
func maskSealed(sql string) string {
	return regexp.MustCompile(`'[0-9a-f]{32,}'`).ReplaceAllString(sql, "'…'")
}
