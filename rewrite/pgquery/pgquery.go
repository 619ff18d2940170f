package pgquery

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// MaxWhereTokens bounds the WHERE clause of a COPY that is parsed. Each token
// costs a few stack frames of C at most; a main thread's 8 MB overflow at some
// 50,000. People write conditions of ten tokens.
const MaxWhereTokens = 500

// maxIdent is NAMEDATALEN-1: the server truncates longer identifiers.
const maxIdent = 63

// ErrWhereTooLong is ParseCopy's answer to a WHERE clause over MaxWhereTokens.
var ErrWhereTooLong = errors.New("where clause has too many tokens")

// Shape says what kind of text ParseCopy met.
type Shape int

// The shapes. Only CopyFrom comes with the other fields of RawCopy, and
// CopyFile and CopyToFile with Filename.
const (
	NotCopy Shape = iota
	// Multi is a COPY followed by further statements.
	Multi
	// CopyQuery is COPY (query) TO ….
	CopyQuery
	// CopyTo is COPY … TO STDOUT or PROGRAM.
	CopyTo
	// CopyToFile is COPY … TO 'file'.
	CopyToFile
	// CopyProgram is COPY … FROM PROGRAM.
	CopyProgram
	// CopyFile is COPY … FROM 'file'.
	CopyFile
	// CopyFrom is COPY … FROM STDIN.
	CopyFrom
)

// RawCopy is one COPY as the grammar sees it; nothing is judged yet.
type RawCopy struct {
	Shape                  Shape
	Catalog, Schema, Table string
	Columns                []string
	Filename               string
	// Options in the order written, legacy spellings under their modern names.
	Options []Option
	// Where is the client's own text of the condition, without the keyword.
	Where string
	// LongName says that an identifier is, or may be, longer than the server
	// keeps.
	LongName bool
	// Params says that the text has $n parameters.
	Params bool
}

// ValueKind says how an option's value was written.
type ValueKind int

// The kinds of option values.
const (
	ValueNone ValueKind = iota
	// ValueString is a word or a string constant.
	ValueString
	// ValueNumber is a number; Text has its digits, with a sign if negative.
	ValueNumber
	// ValueBool comes from legacy keywords such as HEADER only; Text is "true".
	ValueBool
	ValueList
	ValueStar
)

// Option is one option of a COPY.
type Option struct {
	Name string
	Kind ValueKind
	Text string
	List []string
	// Integer says that a ValueNumber fits 32 bits, as the grammar sees it.
	Integer bool
}

// ParseCopy scans and, if the text is one COPY … FROM STDIN, parses it. An
// error means that PostgreSQL 16's grammar does not accept the text, or that
// the text is unfit for the parser.
func ParseCopy(sql string) (*RawCopy, error) {
	if strings.IndexByte(sql, 0) >= 0 || !utf8.ValidString(sql) {
		return nil, errors.New("parse copy: text is not UTF-8")
	}
	res, err := pg_query.Scan(sql)
	if err != nil {
		return nil, fmt.Errorf("scan copy: %w", err)
	}
	sk := skim(sql, res.Tokens)
	if sk.shape != CopyFrom && sk.shape != CopyFile && sk.shape != CopyToFile {
		return &RawCopy{Shape: sk.shape}, nil
	}
	if sk.whereTokens > MaxWhereTokens {
		return nil, ErrWhereTooLong
	}
	tree, err := pg_query.Parse(sql)
	if err != nil {
		return nil, fmt.Errorf("parse copy: %w", err)
	}
	if len(tree.Stmts) != 1 {
		return nil, fmt.Errorf("parse copy: %d statements", len(tree.Stmts))
	}
	raw, err := fromStmt(tree.Stmts[0].GetStmt().GetCopyStmt())
	if err != nil {
		return nil, err
	}
	raw.Shape, raw.LongName, raw.Params = sk.shape, sk.longName, sk.params
	if sk.whereEnd > sk.whereStart {
		raw.Where = strings.TrimSpace(sql[sk.whereStart:sk.whereEnd])
	}
	return raw, nil
}

func fromStmt(stmt *pg_query.CopyStmt) (*RawCopy, error) {
	rel := stmt.GetRelation()
	if stmt == nil || rel == nil || stmt.Query != nil || stmt.IsProgram || rel.Alias != nil || !rel.Inh {
		return nil, errors.New("parse copy: unexpected tree")
	}
	raw := &RawCopy{
		Catalog: rel.Catalogname, Schema: rel.Schemaname, Table: rel.Relname,
		Filename: stmt.Filename,
	}
	var err error
	if raw.Columns, err = stringsOf(stmt.Attlist); err != nil {
		return nil, err
	}
	for _, node := range stmt.Options {
		opt, err := fromDefElem(node.GetDefElem())
		if err != nil {
			return nil, err
		}
		raw.Options = append(raw.Options, opt)
	}
	return raw, nil
}

func fromDefElem(def *pg_query.DefElem) (Option, error) {
	if def == nil || def.Defnamespace != "" {
		return Option{}, errors.New("parse copy: unexpected option node")
	}
	opt := Option{Name: def.Defname}
	if def.Arg == nil {
		return opt, nil
	}
	switch v := def.Arg.Node.(type) {
	case *pg_query.Node_String_:
		opt.Kind, opt.Text = ValueString, v.String_.Sval
	case *pg_query.Node_Integer:
		opt.Kind, opt.Text, opt.Integer = ValueNumber, fmt.Sprint(v.Integer.Ival), true
	case *pg_query.Node_Float:
		opt.Kind, opt.Text = ValueNumber, v.Float.Fval
	case *pg_query.Node_Boolean:
		opt.Kind, opt.Text = ValueBool, fmt.Sprint(v.Boolean.Boolval)
	case *pg_query.Node_AStar:
		opt.Kind = ValueStar
	case *pg_query.Node_List:
		list, err := stringsOf(v.List.Items)
		if err != nil {
			return Option{}, err
		}
		opt.Kind, opt.List = ValueList, list
	default:
		return Option{}, fmt.Errorf("parse copy: unexpected value of option %q", def.Defname)
	}
	return opt, nil
}

func stringsOf(nodes []*pg_query.Node) ([]string, error) {
	var out []string
	for _, n := range nodes {
		s, ok := n.Node.(*pg_query.Node_String_)
		if !ok {
			return nil, errors.New("parse copy: unexpected node in a list")
		}
		out = append(out, s.String_.Sval)
	}
	return out, nil
}
