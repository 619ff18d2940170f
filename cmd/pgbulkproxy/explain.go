package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// explainCmd says how the proxy would treat one statement. It runs one catalog
// query and never the statement.
type explainCmd struct {
	DSN    string `name:"dsn" help:"Database and role that the client would use." required:"" placeholder:"DSN"`
	Engine string `help:"The proxy's engine: auto, ${engines}." default:"auto"`
	Method string `help:"The proxy's load.method: ${enum}." default:"auto" enum:"auto,external,copy"`
	JSON   bool   `name:"json" help:"Print JSON."`
	SQL    string `arg:"" name:"sql" help:"The statement."`
}

// explanation is what explain prints.
type explanation struct {
	Decision rewrite.Way    `json:"decision"`
	Method   rewrite.Method `json:"method,omitempty"`
	Reason   rewrite.Reason `json:"reason"`
	Meaning  string         `json:"meaning"`
	// Detail is the server's or the proxy's own message, where there is one.
	Detail  string   `json:"detail,omitempty"`
	Table   string   `json:"table,omitempty"`
	Columns []string `json:"columns,omitempty"`
	// Routing says how rows of a table with an auxiliary one are placed.
	Routing *explainedRouting `json:"routing,omitempty"`
	// Plan is the SQL that the session gets for each file, or once.
	Plan []string `json:"plan,omitempty"`
	// whole: the statement is never held, however small it is.
	whole bool
	// read: it goes like that with routing.reads only.
	read bool
	// unread: it passes because nobody would read its rows in S3.
	unread bool
}

// Run implements the command.
func (c *explainCmd) Run(a *app) error {
	return a.untilSignal(func(ctx context.Context) error {
		conn, err := connect(ctx, c.DSN)
		if err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		e, err := engineFor(ctx, conn, c.Engine)
		if err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		x, err := explain(ctx, conn, e, c.prefer(), c.SQL)
		if err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		for _, r := range rewrite.Reasons() {
			if r.Reason == x.Reason {
				x.Meaning = r.Meaning
			}
		}
		if c.JSON {
			return x.writeJSON(a.stdout)
		}
		return x.writeText(a.stdout)
	})
}

// prefer is load.method as Classify has it.
func (c *explainCmd) prefer() rewrite.Method {
	switch c.Method {
	case config.MethodExternal:
		return rewrite.MethodExternal
	case config.MethodCopy:
		return rewrite.MethodCopy
	}
	return rewrite.MethodNone
}

// explain takes the steps that a session takes.
func explain(ctx context.Context, conn *pgconn.PgConn, e engine.Engine, prefer rewrite.Method, sql string) (*explanation, error) {
	if rewrite.Prefilter([]byte(sql)) == rewrite.KindInsert {
		return explainInsert(ctx, conn, e, sql)
	}
	maxBytes := config.Default().Statement.MaxBytes
	stmt, reason, refusal := rewrite.ParseCopy(sql, int(maxBytes))
	if refusal != nil {
		return &explanation{Decision: rewrite.Refuse, Reason: reason, Detail: refusal.Error()}, nil
	}
	if stmt == nil {
		if x, err := explainRead(ctx, conn, sql); x != nil || err != nil {
			return x, err
		}
		return &explanation{Decision: rewrite.Pass, Reason: reason}, nil
	}
	if reason := stmt.Inspectable(conn.ParameterStatus); reason != rewrite.ReasonNone {
		return &explanation{Decision: rewrite.Pass, Reason: reason}, nil
	}
	in, x, err := inspect(ctx, conn, e, stmt.InspectSQL(dialect(conn)))
	if in == nil {
		return x, err
	}
	if more := stmt.DetailSQL(in); more != "" {
		if in, x, err = inspect(ctx, conn, e, more); in == nil {
			return x, err
		}
	}
	if x.Decision == rewrite.Refuse {
		return x, nil
	}
	d := rewrite.Classify(stmt, in, e.Caps().ForClassify(prefer))
	if !in.Installed && d.CopyOnly(in) && !d.Transcodable(stmt, in) {
		d, x.unread = d.Relayed(), true
	}
	x.Decision, x.Method, x.Reason = d.Way, d.Method, d.Reason
	if d.Refusal != nil {
		x.Detail = d.Refusal.Error()
	}
	x.whole = d.Ext.Asked()
	return x, x.plan(ctx, conn, e, stmt, in, &d)
}

// dialect is how the server is asked.
func dialect(conn *pgconn.PgConn) rewrite.Dialect {
	return rewrite.DialectOf(conn.ParameterStatus("server_version"))
}

// inspect runs the catalog query. Without an inspection the explanation says
// why the statement passes.
func inspect(ctx context.Context, conn *pgconn.PgConn, e engine.Engine, sql string) (*rewrite.Inspection, *explanation, error) {
	var row string
	_, err := conn.Exec(ctx, dialect(conn).DeclareSQL()).ReadAll()
	if err == nil {
		row, err = queryText(ctx, conn, sql)
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return nil, &explanation{Decision: rewrite.Pass, Reason: rewrite.ReasonInspectFailed, Detail: plainError(err).Error()}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	in, err := rewrite.ParseInspection(row)
	if err != nil {
		return nil, nil, err
	}
	if in.Routing != nil {
		results, err := conn.Exec(ctx, in.RoutingSQL()).ReadAll()
		if err != nil {
			return nil, nil, plainError(err)
		}
		row = ""
		if len(results) == 1 && len(results[0].Rows) == 1 {
			row = string(results[0].Rows[0][0])
		}
		if err := in.AddRouting(row, config.Default().Routing.Column); err != nil {
			return nil, nil, err
		}
	}
	if in.Found && e.Caps().Sharded {
		if err := askSharding(ctx, conn, in); err != nil {
			return nil, nil, err
		}
	}
	x := new(explanation)
	if in.Found {
		x.Table, x.Columns = pgident.Qualified(in.Schema, in.Table), in.Columns
	}
	if in.Routing != nil {
		if err := x.route(ctx, conn, in); err != nil {
			return nil, nil, err
		}
	}
	return in, x, nil
}

func (x *explanation) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(x)
}

func (x *explanation) writeText(w io.Writer) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name+":", value)
		}
	}
	line("decision", string(x.Decision))
	line("method", string(x.Method))
	line("reason", fmt.Sprintf("%s (%s)", x.Reason, strings.TrimSuffix(x.Meaning, ".")))
	line("detail", x.Detail)
	line("table", x.Table)
	line("columns", strings.Join(x.Columns, ", "))
	if x.Routing != nil {
		line("routing", x.Routing.text(x.Table))
	}
	if len(x.Plan) > 0 {
		b.WriteString("plan:\n")
		for _, sql := range x.Plan {
			b.WriteString("  " + strings.ReplaceAll(sql, "\n", "\n  ") + ";\n")
		}
	}
	switch {
	case x.whole:
	case x.Routing != nil && x.Routing.Routes > 0:
		// However small it is, its rows are placed.
	case x.unread:
		b.WriteString("With sweep.keep = always it is staged, so that its rows are in S3 as well.\n")
	case x.read:
		b.WriteString("With routing.reads = on; else the statement is relayed, and sees the main table alone.\n")
	case x.Decision == rewrite.Stream:
		b.WriteString("An INSERT with fewer rows than insert.min_rows is relayed; from insert.stage_bytes on its rows go through files.\n")
	case x.Decision == rewrite.Stage:
		b.WriteString("Data that ends before stage.min_bytes is sent natively.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// askSharding completes the inspection of a table that may be one of Citus'.
func askSharding(ctx context.Context, conn *pgconn.PgConn, in *rewrite.Inspection) error {
	results, err := conn.Exec(ctx, rewrite.SpreadSQL).ReadAll()
	if err == nil && len(results[0].Rows) == 1 {
		results, err = conn.Exec(ctx, rewrite.ShardingSQL(in.Schema, in.Table)).ReadAll()
	}
	if err != nil {
		return plainError(err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return nil
	}
	return in.AddSharding(string(results[0].Rows[0][0]))
}
