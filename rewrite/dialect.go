package rewrite

import (
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// Dialect says in which SQL a server is asked. Texts of different dialects give
// answers of the same form.
type Dialect int

const (
	// Current is that of PostgreSQL 10 and later, and of what is made from it.
	Current Dialect = iota
	// Greenplum6 is that of PostgreSQL 9.4 with Greenplum's own catalogs. Other
	// servers of before 10 do not understand it: what they are asked fails, and
	// their clients' statements pass.
	Greenplum6
)

// DialectOf returns the dialect for what a server reports as server_version.
func DialectOf(serverVersion string) Dialect {
	digits, _, _ := strings.Cut(serverVersion, ".")
	if major, err := strconv.Atoi(digits); err == nil && major < 10 {
		return Greenplum6
	}
	return Current // also where it says 18beta1
}

// Dialect is that of the session that was inspected.
func (s *Session) Dialect() Dialect {
	if s.Version > 0 && s.Version < 100000 {
		return Greenplum6
	}
	return Current
}

// DeclareSQL is a statement that has to run once in a session before InspectSQL,
// SettingsSQL and GuardSQL do; "" where there is none. Before 9.6 the value of a
// setting that nobody has set can only be asked for at the price of an error. So
// settings that are not there get a value that means nothing; a setting stays
// known to the session, whatever becomes of the transaction.
func (d Dialect) DeclareSQL() string {
	if d == Current {
		return ""
	}
	return `DO LANGUAGE plpgsql 'DECLARE s pg_catalog.text; BEGIN
FOREACH s IN ARRAY ''{` + strings.Join(ownSettings(), ",") + `}''::pg_catalog.text[] LOOP
  BEGIN PERFORM pg_catalog.current_setting(s);
  EXCEPTION WHEN undefined_object THEN PERFORM pg_catalog.set_config(s, '''', true);
  END;
END LOOP; END'`
}

// LockSQL takes the lock that COPY and INSERT take first of all.
//
// LOCK TABLE asked for more than the right to INSERT before 9.5, and Greenplum has
// all segments lock. EXPLAIN keeps the lock of the statement that it plans, on the
// coordinator, where everybody who changes the table takes theirs first.
func (d Dialect) LockSQL(schema, table string) string {
	if d == Current {
		return "LOCK TABLE ONLY " + pgident.Qualified(schema, table) + " IN ROW EXCLUSIVE MODE"
	}
	return "EXPLAIN (COSTS off) INSERT INTO " + pgident.Qualified(schema, table) + " DEFAULT VALUES"
}

// RoutesReads says whether statements that read routed tables are understood there.
func (d Dialect) RoutesReads() bool { return d == Current }

// older makes a text about pg_attribute a one for the dialect: before 10 there were no
// identity columns, and before 12 no generated ones.
func (d Dialect) older(sql string) string {
	if d == Current {
		return sql
	}
	return strings.NewReplacer("a.attgenerated", "''::pg_catalog.text", "a.attidentity", "''::pg_catalog.text").Replace(sql)
}

// setting is an expression for the value of a setting that a server of the
// dialect may not have.
func (d Dialect) setting(name string) string {
	if d == Current {
		return "pg_catalog.current_setting(" + pgident.Literal(name) + ", true)"
	}
	return "pg_catalog.current_setting(" + pgident.Literal(name) + ")"
}

// ownSettings are those of inspectSettings that are ours.
func ownSettings() []string {
	var own []string
	for _, name := range strings.Split(inspectSettings, ",") {
		if strings.HasPrefix(name, "pgbulk.") {
			own = append(own, name)
		}
	}
	return own
}

// greenplumWords are words that Greenplum 6 has taken for its own syntax: a name
// must be quoted there that need not be for our parser.
const greenplumWords = " decode distributed exclude following log partition preceding scatter unbounded "

// wordReason finds a name that the server may not take as it stands in a COPY.
func wordReason(c *CopyStatement, in *Inspection, _ Caps) Reason {
	if in.Dialect() == Current {
		return ReasonNone
	}
	for _, names := range [][]string{{c.Schema, c.Table}, c.Columns, c.ForceNull, c.ForceNotNull} {
		for _, name := range names {
			if name != "" && strings.Contains(greenplumWords, " "+name+" ") {
				return ReasonOldServer
			}
		}
	}
	return ReasonNone
}

// dialectReason finds what an old server has against an INSERT that we understand.
func (s *InsertStatement) dialectReason(in *Inspection) Reason {
	if in.Dialect() != Current && (s.Alias != "" || s.Overriding != "") {
		return ReasonOldServer
	}
	return wordReason(&CopyStatement{Schema: s.Schema, Table: s.Table, Columns: s.Columns}, in, Caps{})
}
