package rewrite

import "strings"

// A usual COPY is one that the server is given as it is, after a question that is much
// shorter than the inspection: it needs to be known that nothing is asked for which
// the server does not have, and that the table has no routes. All else that could be
// wrong with it the server says itself, when it gets it.

// usualSettings are those that can make it another, in the order of the columns that
// UsualSQL returns.
var usualSettings = []string{"pgbulk.mode", "pgbulk.ack", "pgbulk.on_conflict", "pgbulk.max_error_records", "pgbulk.label", "pgbulk.coalesce"}

// UsualSQL returns one row for StillUsual, after an inspection that has found the
// statement to be usual. It raises no error, and needs no table. Where the role may
// not look names up in the schema of routes, they are looked for in the catalog,
// which takes longer to plan than all the rest.
func (c *CopyStatement) UsualSQL(in *Inspection) string {
	var b strings.Builder
	b.WriteString("SELECT ")
	if in.routesHidden {
		b.WriteString("(SELECT true FROM " + hiddenRoutes(c.Table) + ") IS NOT NULL")
	} else {
		b.WriteString(routedName(c.Table))
	}
	for _, name := range usualSettings {
		b.WriteString(", " + Current.setting(name))
	}
	return b.String()
}

// StillUsual says whether a COPY that was usual is so for the row of its UsualSQL.
func StillUsual(row [][]byte) bool {
	if len(row) != 1+len(usualSettings) || string(row[0]) != "f" {
		return false
	}
	in := &Inspection{}
	for i, name := range usualSettings {
		in.own(name, string(row[1+i]))
	}
	return (&CopyStatement{}).usualIn(in)
}

// Usual says whether an inspected COPY is a usual one, of a server that UsualSQL is for.
func (c *CopyStatement) Usual(in *Inspection) bool {
	return in.Dialect() == Current && in.Found && in.Routing == nil && c.usualIn(in)
}

func (c *CopyStatement) usualIn(in *Inspection) bool {
	if in.Mode != "" && in.Mode != "auto" {
		return false // force wants to have the rows in the store
	}
	x, problem := c.resolve(in)
	return problem == "" && !x.Asked()
}
