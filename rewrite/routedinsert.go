package rewrite

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// RoutedKeys are the distinct values of the routing column among the rows of a
// statement, as an array.
type RoutedKeys struct {
	// Elements are the insides of '{…}' in an E string, Type is the array's.
	Elements []byte
	Type     string
	numbers  map[string]int32
}

// Add adds an element, unless it is there, and returns its number, from 1 on.
func (k *RoutedKeys) Add(element []byte) int32 {
	n, ok := k.numbers[string(element)]
	if ok {
		return n
	}
	if k.numbers == nil {
		k.numbers = make(map[string]int32)
	}
	n = int32(len(k.numbers) + 1)
	k.numbers[string(element)] = n
	if n > 1 {
		k.Elements = append(k.Elements, ',')
	}
	k.Elements = append(k.Elements, element...)
	return n
}

func (k *RoutedKeys) from(columns string) string {
	ordinality := ""
	if strings.Contains(columns, ",") {
		ordinality = " WITH ORDINALITY"
	}
	return "ROWS FROM (pg_catalog.unnest(E'{" + string(k.Elements) + "}'::" + k.Type + "))" + ordinality + " AS pgbulkproxy_rows(" + columns + ")"
}

// WaitKeysSQL waits for those of the moving groups that are among the keys, as
// WaitSQL does.
func (r *Routing) WaitKeysSQL(in *Inspection, moving []string, k *RoutedKeys) string {
	return r.WaitSQL(in, moving, k.from("k"), "pgbulkproxy_rows.k::"+r.Type)
}

// AuxKeysSQL returns the ordinals, counted from 1, of the keys whose rows go to the
// auxiliary table.
func (r *Routing) AuxKeysSQL(in *Inspection, k *RoutedKeys) string {
	return r.auxRows(in, k.from("k, n"), "pgbulkproxy_rows.k::"+r.Type)
}

// DrawsSQL says whether the order of the rows can be seen in what the statement
// leaves to the table's defaults: whether one of them draws from a sequence, reads
// the clock, or calls a function of a user's. 1255 is pg_proc, 1259 pg_class, 2604
// pg_attrdef.
func (s *InsertStatement) DrawsSQL(in *Inspection) string {
	given := "'{}'"
	if !s.HasDefault {
		given = pgident.LiteralArray(in.Columns[:s.Targets()])
	}
	const draws = ` OPERATOR(pg_catalog.~) '(nextval|setval|clock_timestamp|timeofday)[(]'`
	return in.Dialect().older(`SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a, pg_catalog.pg_type t
WHERE a.attrelid OPERATOR(pg_catalog.=) ` + strconv.FormatUint(uint64(in.OID), 10) + `::pg_catalog.oid
AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attgenerated OPERATOR(pg_catalog.=) ''
AND t.oid OPERATOR(pg_catalog.=) a.atttypid AND NOT a.attname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (` + given + `::pg_catalog.text[])
AND (a.attidentity OPERATOR(pg_catalog.<>) '' OR t.typdefault` + draws + `
  OR EXISTS (SELECT FROM pg_catalog.pg_attrdef d WHERE d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
    AND (pg_catalog.pg_get_expr(d.adbin, d.adrelid)` + draws + `
    OR EXISTS (SELECT FROM pg_catalog.pg_depend p WHERE p.classid OPERATOR(pg_catalog.=) 2604::pg_catalog.oid AND p.objid OPERATOR(pg_catalog.=) d.oid
      AND p.refclassid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND p.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)))))`)
}

// ConstraintSQL returns what a constraint of the table is called in the auxiliary
// one: the first one that says the same.
func (r *Routing) ConstraintSQL(in *Inspection, name string) string {
	definition := "pg_catalog.pg_get_constraintdef(c.oid)"
	other := "pg_catalog.pg_get_constraintdef(o.oid)"
	if r.Column != r.AuxColumn {
		// Keys are lists of names: that of the routing column stands between brackets or commas.
		for _, sep := range []string{"(", " "} {
			for _, end := range []string{",", ")"} {
				other = "pg_catalog.replace(" + other + ", " + pgident.Literal(sep) + " OPERATOR(pg_catalog.||) pg_catalog.quote_ident(" +
					pgident.Literal(r.AuxColumn) + ") OPERATOR(pg_catalog.||) " + pgident.Literal(end) + ", " + pgident.Literal(sep) +
					" OPERATOR(pg_catalog.||) pg_catalog.quote_ident(" + pgident.Literal(r.Column) + ") OPERATOR(pg_catalog.||) " + pgident.Literal(end) + ")"
			}
		}
	}
	return "SELECT o.conname FROM pg_catalog.pg_constraint c, pg_catalog.pg_constraint o WHERE c.conrelid OPERATOR(pg_catalog.=) " +
		strconv.FormatUint(uint64(in.OID), 10) + "::pg_catalog.oid AND c.conname OPERATOR(pg_catalog.=) " + pgident.Literal(name) +
		"::pg_catalog.name AND o.conrelid OPERATOR(pg_catalog.=) " + strconv.FormatUint(uint64(r.Aux.OID), 10) + "::pg_catalog.oid AND " +
		definition + " OPERATOR(pg_catalog.=) " + other + " ORDER BY o.conname LIMIT 1"
}

// RoutedPiece is some rows of a routed INSERT that go to one table: those from
// From on and before To which are that table's.
type RoutedPiece struct {
	Aux      bool
	From, To int
}

// RoutedByTable makes at most one piece of the rows for each table; aux says of
// each row whether it is the auxiliary table's. No rows at all are the main table's.
func RoutedByTable(aux []bool) []RoutedPiece {
	var out []RoutedPiece
	for _, t := range []bool{false, true} {
		if slices.Contains(aux, t) {
			out = append(out, RoutedPiece{t, 0, len(aux)})
		}
	}
	if out == nil {
		return []RoutedPiece{{}}
	}
	return out
}

// RoutedByRuns makes a piece of each run of rows of one table.
func RoutedByRuns(aux []bool) []RoutedPiece {
	var out []RoutedPiece
	for i, a := range aux {
		if i == 0 || a != aux[i-1] {
			out = append(out, RoutedPiece{a, i, i})
		}
		out[len(out)-1].To++
	}
	if out == nil {
		return []RoutedPiece{{}}
	}
	return out
}

// OverridesUser says whether the statement wants values for identity columns
// ignored, which the auxiliary table, having none, would not do.
func (s *InsertStatement) OverridesUser() bool { return s.Overriding == "USER" }

// Refuse is the error for an INSERT into a routed table that is not understood
// well enough to put its rows into the right table.
func (r *Routing) Refuse(in *Inspection, reason Reason) *Refusal {
	return &Refusal{Feature: "this INSERT into the routed table " + pgident.Qualified(in.Schema, in.Table), Because: reason}
}

// RaiseSQL is a statement that fails with an error of ours: the server then does
// all that goes with an error.
func RaiseSQL(code, message string) string {
	return "DO LANGUAGE plpgsql " + pgident.Literal("BEGIN RAISE EXCEPTION USING ERRCODE = "+pgident.Literal(code)+
		", MESSAGE = "+pgident.Literal(message)+"; END")
}
