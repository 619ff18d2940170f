package example

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

type example struct{}

// New returns the engine. It is an engine.Preparer.
func New() engine.Engine { return example{} }

// Name implements engine.Engine.
func (example) Name() string { return "example" }

// Caps implements engine.Engine.
func (example) Caps() engine.Caps {
	return engine.Caps{
		External: true, Formats: []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV, rewrite.FormatBinary},
		InstallNeeded: true, Transactional: true, InSession: true, OnConflict: true, Returning: true, Ordered: true, TagIsExact: true,
	}
}

// PrepareSQL implements engine.Preparer: it asks for the types of the columns.
func (example) PrepareSQL(t engine.Target, _ string) string {
	return "SELECT pg_catalog.string_agg(pg_catalog.format_type(atttypid, atttypmod), E'\\x01' ORDER BY pg_catalog.array_position(ARRAY[" +
		literals(t.Columns) + "]::pg_catalog.text[], attname::pg_catalog.text)) FROM pg_catalog.pg_attribute WHERE attrelid = " +
		strconv.Itoa(int(t.OID)) + " AND attname::pg_catalog.text = ANY (ARRAY[" + literals(t.Columns) + "]::pg_catalog.text[])"
}

// Prepare implements engine.Preparer.
func (example) Prepare(t engine.Target, row [][]byte) (engine.Target, error) {
	t.Types = strings.Split(string(row[0]), "\x01")
	if len(t.Types) != len(t.Columns) {
		return t, fmt.Errorf("engine example: %w: %d types", engine.ErrUnsupported, len(t.Types))
	}
	return t, nil
}

// Plan implements engine.Engine.
func (example) Plan(t engine.Target, stmt *rewrite.CopyStatement, s engine.Session, g engine.Group, key []byte, expires time.Time) (engine.Plan, error) {
	f, err := g.One()
	if err != nil {
		return engine.Plan{}, err
	}
	record, err := sealed.ImportSQL(s, f, key, expires)
	if err != nil {
		return engine.Plan{}, fmt.Errorf("engine example: %w", err)
	}
	columns := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		columns[i] = pgident.Quote(name) + " " + t.Types[i]
	}
	one := *stmt
	one.Header = stmt.Header && f.First
	if stmt.ForceNullAll {
		one.ForceNull, one.ForceNullAll = t.Columns, false
	}
	if stmt.ForceNotNullAll {
		one.ForceNotNull, one.ForceNotNullAll = t.Columns, false
	}
	name := fmt.Sprintf("f_%s_%d", f.ProcessID, f.Number)
	table := pgident.Qualified("pg_temp", name)
	into := one.Native(&rewrite.Inspection{Schema: "pg_temp", Table: name, Columns: t.Columns}, false)
	program := pgident.Literal("curl --silent --fail --location --max-redirs 0 '" + f.URL + "'")
	overriding := ""
	if t.OverridingSystem {
		overriding = " OVERRIDING SYSTEM VALUE"
	}
	list := pgident.List(t.Columns)
	return engine.Plan{
		Open: do("EXECUTE " + pgident.Literal("CREATE TEMP TABLE "+pgident.Quote(name)+" ("+strings.Join(columns, ", ")+")") +
			"; EXECUTE " + pgident.Literal(strings.Replace(into, " FROM STDIN", " FROM PROGRAM "+program, 1))),
		Insert: "INSERT INTO " + pgident.Qualified(t.Schema, t.Table) + " (" + list + ")" + overriding + " SELECT " + list + " FROM " + table,
		Close:  do("PERFORM" + strings.TrimPrefix(record, "SELECT") + "; DROP TABLE " + table),
	}, nil
}

// do runs several statements as one.
func do(body string) string { return "DO " + pgident.Literal("BEGIN "+body+"; END") }

func literals(texts []string) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = pgident.Literal(t)
	}
	return strings.Join(out, ", ")
}
