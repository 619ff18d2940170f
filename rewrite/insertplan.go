package rewrite

import (
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// RowsSQL is the COPY that puts the rows of MethodRows in.
func (s *InsertStatement) RowsSQL(in *Inspection) string {
	return in.sequential(s.copySQL(in))
}

func (s *InsertStatement) copySQL(in *Inspection) string {
	return "COPY " + pgident.Qualified(in.Schema, in.Table) + " (" + pgident.List(in.Columns[:s.Targets()]) + ") FROM STDIN"
}

// BinarySQL is RowsSQL for rows in binary.
func (s *InsertStatement) BinarySQL(in *Inspection) string {
	return in.sequential(s.copySQL(in) + " (FORMAT binary)")
}

// AppendArraysSQL appends the INSERT of MethodArrays with the arrays that an
// Encoder has filled. The client's own ON CONFLICT and RETURNING stand in it as
// they were: they can name nothing but the target, its alias and excluded.
func (s *InsertStatement) AppendArraysSQL(dst []byte, in *Inspection, arrays [][]byte) []byte {
	dst = append(dst, "INSERT INTO "+pgident.Qualified(in.Schema, in.Table)...)
	if s.Alias != "" {
		dst = append(dst, " AS "+pgident.Quote(s.Alias)...)
	}
	dst = append(dst, " ("+pgident.List(in.Columns[:s.Targets()])+")"...)
	if s.Overriding != "" {
		dst = append(dst, " OVERRIDING "+s.Overriding+" VALUE"...)
	}
	// Not unnest(a, b): with its schema that is a function that is not there.
	dst = append(dst, " SELECT * FROM ROWS FROM ("...)
	for i, array := range arrays {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, "pg_catalog.unnest(E'{"...), array...), "}'::"...)
		dst = append(append(dst, in.Types[i].ArrayType()...), ')')
	}
	dst = append(dst, ')')
	for _, clause := range []string{s.OnConflict, s.Returning} {
		if clause != "" {
			// On a line of its own: a clause may end in a comment.
			dst = append(append(dst, '\n'), clause...)
		}
	}
	if s.OnConflict != "" || s.Returning != "" {
		dst = append(dst, '\n')
	}
	return dst
}

// GuardSQL is a SELECT without columns and rows that fails where the
// statement's table is no longer the one that was inspected.
func (s *InsertStatement) GuardSQL(in *Inspection) string {
	return "SELECT WHERE 1 OPERATOR(pg_catalog./) (" + in.Dialect().resolve(s.Schema, s.Table) +
		" OPERATOR(pg_catalog.=) " + strconv.FormatUint(uint64(in.OID), 10) + "::pg_catalog.oid)::pg_catalog.int4 OPERATOR(pg_catalog.=) 0"
}

// Copy is the COPY … FROM STDIN whose data is the rows of MethodRows.
func (s *InsertStatement) Copy(in *Inspection) *CopyStatement {
	return &CopyStatement{
		SQL: s.copySQL(in), Schema: in.Schema, Table: in.Table, Columns: in.Columns[:s.Targets()],
		Format: FormatText, Delimiter: '\t', Null: `\N`,
	}
}
