package rewrite

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// AnyInsert is an INSERT of any form, of which one knows where its table stands.
// It goes into a temporary table first.
type AnyInsert struct {
	// Statement has no rows, but all the rest.
	Statement *InsertStatement
	// sql begins with before, then come the table's name and its alias; between
	// stands before the clauses.
	before, between string
	// StandsAlone: the clauses mean the same behind another INSERT.
	StandsAlone bool
}

// AnyTarget is the name of a table that a text puts rows into.
type AnyTarget struct{ Schema, Table string }

// AnyText is what a text that may have INSERTs in it is.
type AnyText struct {
	// Insert is the text's one statement, if that is an INSERT and nothing in it is
	// another one.
	Insert *AnyInsert
	// Targets are all tables that it puts rows into.
	Targets []AnyTarget
	// Plain says that it may run in a transaction block of ours.
	Plain bool
	// Ends: it begins with a statement about transactions, so it may go on in one that
	// has failed.
	Ends bool
	// Transactions: some of it is about transactions.
	Transactions bool
	// Prepares says that INSERTs in it may run at any later time.
	Prepares bool
	// Executes are the names of the prepared statements that it runs by EXECUTE.
	Executes []string
	// Runs says that one of these inserts into a table that may be routed.
	Runs bool
	// Unknown: it can't be parsed, and Targets may be too many.
	Unknown bool

	statements []pgquery.AnyStatement
}

// ParseAny reads a text that has INSERTs in it.
func ParseAny(sql []byte) *AnyText {
	statements, err := pgquery.ParseAny(string(sql))
	if err != nil {
		return &AnyText{Targets: wordTargets(sql), Unknown: true}
	}
	a := &AnyText{Plain: true, statements: statements}
	for _, s := range statements {
		a.Plain = a.Plain && s.Plain
		a.Transactions = a.Transactions || s.Transaction != pgquery.TransactionNone
		if s.Executes != "" {
			a.Executes = append(a.Executes, s.Executes)
		}
		a.Prepares = a.Prepares || s.Prepares && len(s.Inner) > 0
		for _, t := range s.Inner {
			a.Targets = append(a.Targets, AnyTarget{t.Schema, t.Table})
		}
		if s.Insert != nil {
			a.Targets = append(a.Targets, AnyTarget{s.Insert.Schema, s.Insert.Table})
		}
	}
	a.Ends = len(statements) > 1 && statements[0].Transaction != pgquery.TransactionNone
	if len(statements) != 1 || len(a.Targets) != 1 || statements[0].Insert == nil {
		return a
	}
	raw := statements[0].Insert
	if raw.LongName || raw.Catalog != "" {
		return a
	}
	a.Insert = &AnyInsert{
		Statement: &InsertStatement{
			SQL: sql, Schema: raw.Schema, Table: raw.Table, Alias: raw.Alias, Columns: raw.Columns,
			Overriding: raw.Overriding, OnConflict: raw.OnConflict, Conflict: Conflict(raw.Conflict), Returning: raw.Returning,
		},
		before: string(sql[:raw.NameStart]), between: string(sql[raw.TargetEnd:raw.TailStart]),
		StandsAlone: raw.StandsAlone(),
	}
	return a
}

// PreparedTargets are the tables that a prepared statement puts rows into, and the
// prepared statements that it runs itself. sql is what the server says of it: by
// SQL's PREPARE, the whole text that this stood in.
func PreparedTargets(sql []byte, name string) (targets []AnyTarget, executes []string) {
	statements, err := pgquery.ParseAny(string(sql))
	if err != nil && Executes(sql, true) {
		executes = []string{AnyPrepared}
	}
	if err != nil {
		return wordTargets(sql), executes
	}
	bySQL := slices.ContainsFunc(statements, func(s pgquery.AnyStatement) bool { return s.Prepares && s.Name == name })
	for _, s := range statements {
		if bySQL && (!s.Prepares || s.Name != name) {
			continue
		}
		if s.Executes != "" {
			executes = append(executes, s.Executes)
		}
		for _, t := range s.Inner {
			targets = append(targets, AnyTarget{t.Schema, t.Table})
		}
		if s.Insert != nil {
			targets = append(targets, AnyTarget{s.Insert.Schema, s.Insert.Table})
		}
	}
	return targets, executes
}

// AnyOf is a statement of constants as one of any form.
func AnyOf(s *InsertStatement) *AnyInsert {
	c := headCursor{sql: s.SQL}
	_, _ = c.scan() // it was scanned before
	end := len(s.SQL)
	for _, clause := range []string{s.Returning, s.OnConflict} {
		if clause != "" {
			end = strings.LastIndex(string(s.SQL), clause)
		}
	}
	stmt := *s
	stmt.ListStart, stmt.ListEnd = 0, 0
	return &AnyInsert{Statement: &stmt, before: string(s.SQL[:c.into]) + " ", between: string(s.SQL[c.alias:end]), StandsAlone: true}
}

// Into is the statement without its clauses, into another table.
func (a *AnyInsert) Into(table string) string { return a.before + table + a.between + "\n" }

// TempColumnsSQL asks for the columns of the table, for NewTempInsert: name, type,
// default, and whether it is generated. Defaults are those of the session that
// asks: their names may depend on its search_path.
func TempColumnsSQL(in *Inspection) string {
	return in.Dialect().older(`SELECT a.attname, pg_catalog.concat(pg_catalog.format_type(a.atttypid, a.atttypmod),
  (SELECT pg_catalog.concat(' COLLATE ', pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(l.collname))
    FROM pg_catalog.pg_collation l, pg_catalog.pg_namespace n
    WHERE l.oid OPERATOR(pg_catalog.=) a.attcollation AND n.oid OPERATOR(pg_catalog.=) l.collnamespace)),
  CASE WHEN a.attgenerated OPERATOR(pg_catalog.<>) '' THEN NULL WHEN a.attidentity OPERATOR(pg_catalog.<>) '' THEN pg_catalog.concat('pg_catalog.nextval(',
      pg_catalog.quote_literal(pg_catalog.pg_get_serial_sequence(a.attrelid::pg_catalog.regclass::pg_catalog.text, a.attname::pg_catalog.text)), '::pg_catalog.regclass)')
    ELSE (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
      WHERE d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum) END,
  a.attgenerated OPERATOR(pg_catalog.<>) ''
FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) ` + strconv.FormatUint(uint64(in.OID), 10) + `::pg_catalog.oid
AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum`)
}

// TempInsert is the temporary table that the rows of an INSERT go through, with
// all that the table's defaults make of them.
type TempInsert struct {
	in      *Inspection
	name    string
	ordinal string
	columns []string // of the table, but for generated ones
	create  string
}

// NewTempInsert plans one from the rows of TempColumnsSQL.
func NewTempInsert(in *Inspection, rows [][][]byte) (*TempInsert, error) {
	t := &TempInsert{in: in, name: pgident.Qualified("pg_temp", "pgbulkproxy_insert")}
	var all, definitions []string
	for _, row := range rows {
		if len(row) != 4 {
			return nil, fmt.Errorf("column of table: %d fields", len(row))
		}
		name := string(row[0])
		definition := pgident.Quote(name) + " " + string(row[1])
		if row[2] != nil {
			definition += " DEFAULT " + string(row[2])
		}
		all, definitions = append(all, name), append(definitions, definition)
		if string(row[3]) != "t" {
			t.columns = append(t.columns, name)
		}
	}
	t.ordinal = fresh("pgbulkproxy_row", all)
	definitions = append(definitions, pgident.Quote(t.ordinal)+" "+in.Dialect().ordinalType())
	t.create = "CREATE TEMPORARY TABLE " + t.name + " (" + strings.Join(definitions, ", ") + ") ON COMMIT DROP" + in.placed(all)
	return t, nil
}

// FillSQL returns the statements that make the table and put the rows in.
func (t *TempInsert) FillSQL(a *AnyInsert) string { return t.create + ";\n" + a.Into(t.name) }

// Fill returns both for themselves.
func (t *TempInsert) Fill(a *AnyInsert) (create, fill string) { return t.create, a.Into(t.name) }

// WaitSQL waits for the moving groups among the rows, as Routing.WaitSQL does.
func (t *TempInsert) WaitSQL(moving []string) string {
	return t.in.Routing.WaitSQL(t.in, moving, t.name+" AS pgbulkproxy_rows", t.key())
}

func (t *TempInsert) key() string { return "pgbulkproxy_rows." + pgident.Quote(t.in.Routing.Column) }

// AuxSQL returns the ordinals, counted from 1, of the auxiliary table's rows.
func (t *TempInsert) AuxSQL() string {
	return "SELECT pgbulkproxy_rows." + pgident.Quote(t.ordinal) + " FROM " + t.name + " AS pgbulkproxy_rows WHERE " +
		t.in.Routing.ToAux(t.in, t.key())
}

// InsertSQL puts a piece of the rows into its table; whole says that the piece is
// all rows of that table.
func (t *TempInsert) InsertSQL(target *InsertTarget, p RoutedPiece, whole bool) string {
	s, r := target.Statement, t.in.Routing
	columns := pgident.List(t.columns)
	into := pgident.Qualified(target.In.Schema, target.In.Table)
	if s.Alias != "" {
		into += " AS " + pgident.Quote(s.Alias)
	}
	names := columns
	if p.Aux && r.AuxColumn != r.Column {
		other := make([]string, len(t.columns))
		for i, name := range t.columns {
			if other[i] = name; name == r.Column {
				other[i] = r.AuxColumn
			}
		}
		names = pgident.List(other)
	}
	ordinal := "pgbulkproxy_rows." + pgident.Quote(t.ordinal)
	where := ordinal + " OPERATOR(pg_catalog.>) " + strconv.Itoa(p.From) + " AND " + ordinal + " OPERATOR(pg_catalog.<=) " + strconv.Itoa(p.To)
	if whole {
		where = r.ToAux(t.in, t.key())
		if !p.Aux {
			where = "NOT " + where
		}
	}
	return "INSERT INTO " + into + " (" + names + ")" + t.in.Dialect().overriding() + " SELECT " + columns + " FROM " + t.name +
		" AS pgbulkproxy_rows WHERE " + where + " ORDER BY " + ordinal + s.clauses()
}

// DropSQL drops the table.
func (t *TempInsert) DropSQL() string { return "DROP TABLE " + t.name }

// wordTargets are the tables behind the words INSERT INTO, wherever they stand in
// a text that can't be parsed; some of them may be none.
func wordTargets(sql []byte) []AnyTarget {
	var out []AnyTarget
	for at := 0; at+4 <= len(sql); at++ {
		if !isWord(sql[at:at+4], "into") || at > 0 && isWordByte(sql[at-1]) || at+4 < len(sql) && isWordByte(sql[at+4]) {
			continue
		}
		c := headCursor{sql: sql, end: at + 4}
		var names []string
		for {
			if c.next(); c.kind != tokenWord && c.kind != tokenQuoted {
				break
			}
			names = append(names, c.identifier())
			if c.next(); !c.is('.') {
				break
			}
		}
		switch n := len(names); {
		case n == 1:
			out = append(out, AnyTarget{"", names[0]})
		case n > 1:
			out = append(out, AnyTarget{names[n-2], names[n-1]})
		}
	}
	return out
}

// HeadTarget returns the table that an INSERT names, by its first bytes.
func HeadTarget(head []byte) (target AnyTarget, ok bool) {
	c := headCursor{sql: head}
	_, _ = c.scan()
	if c.named == 0 {
		return AnyTarget{}, false
	}
	all := wordTargets(head[:c.named])
	if len(all) == 0 {
		return AnyTarget{}, false
	}
	return all[len(all)-1], true
}

// identifier is what the token names.
func (c *headCursor) identifier() string {
	text := string(c.sql[c.start:c.end])
	if c.kind == tokenQuoted {
		return strings.ReplaceAll(text[1:len(text)-1], `""`, `"`)
	}
	return strings.ToLower(text)
}
