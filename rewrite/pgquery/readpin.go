package pgquery

import (
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// maxPinned bounds the values of one condition: with more, looking up each route
// costs as much as looking into both tables.
const maxPinned = 100

// condition walks over a WHERE clause and notes which columns it pins.
func (w *readWalk) condition(where *pg_query.Node, sc *scope, level int) {
	w.expr(where, sc)
	w.pins(where, level)
}

func (w *readWalk) pins(node *pg_query.Node, level int) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_BoolExpr:
		if n.BoolExpr.Boolop == pg_query.BoolExprType_AND_EXPR {
			for _, arg := range n.BoolExpr.Args {
				w.pins(arg, level)
			}
		}
	case *pg_query.Node_AExpr:
		if pin, ok := w.pin(n.AExpr); ok {
			w.raw.Levels[level].Pins = append(w.raw.Levels[level].Pins, pin)
		}
	}
}

// pin reads col = value, value = col, col IN (values) and col = ANY (parameter).
func (w *readWalk) pin(e *pg_query.A_Expr) (pin RawPin, ok bool) {
	if len(e.Name) != 1 || e.Name[0].GetString_().GetSval() != "=" {
		return pin, false
	}
	col, values := e.Lexpr, []*pg_query.Node{e.Rexpr}
	switch e.Kind {
	case pg_query.A_Expr_Kind_AEXPR_OP:
		if col.GetColumnRef() == nil {
			col, values[0] = e.Rexpr, e.Lexpr
		}
	case pg_query.A_Expr_Kind_AEXPR_IN:
		values = e.Rexpr.GetList().GetItems()
	case pg_query.A_Expr_Kind_AEXPR_OP_ANY:
	default:
		return pin, false
	}
	switch fields := col.GetColumnRef().GetFields(); len(fields) {
	case 2:
		pin.Qualifier = fields[0].GetString_().GetSval()
		pin.Column = fields[1].GetString_().GetSval()
	case 1:
		pin.Column = fields[0].GetString_().GetSval()
	}
	if pin.Column == "" || len(values) == 0 || len(values) > maxPinned {
		return pin, false
	}
	for _, node := range values {
		v, ok := w.value(node)
		v.Array = e.Kind == pg_query.A_Expr_Kind_AEXPR_OP_ANY
		if !ok || v.Array && (v.Param == 0 || v.Cast != "") {
			return pin, false
		}
		pin.Values = append(pin.Values, v)
	}
	return pin, true
}

// value reads a constant or parameter, with a cast perhaps.
func (w *readWalk) value(node *pg_query.Node) (v RawValue, ok bool) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_ParamRef:
		v.Param = int(n.ParamRef.Number)
		return v, v.Param > 0
	case *pg_query.Node_TypeCast:
		if v, ok = w.value(n.TypeCast.Arg); !ok || v.Cast != "" {
			return v, false
		}
		v.Cast = castType(n.TypeCast.TypeName)
		return v, v.Cast != ""
	case *pg_query.Node_AConst:
		i := w.tokenAt(int(n.AConst.Location))
		if i == len(w.toks) || w.toks[i].Start != n.AConst.Location {
			return v, false
		}
		t := w.toks[i]
		v.Text, v.Start = w.sql[t.Start:t.End], int(t.Start)
		v.Integer = t.Token == pg_query.Token_ICONST || t.Token == pg_query.Token_FCONST && isBigint(v.Text)
		return v, v.Integer || t.Token == pg_query.Token_SCONST && strings.IndexByte("'eE", v.Text[0]) >= 0
	}
	return v, false
}

// isBigint says that a number which is no int4 is an int8.
func isBigint(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil && s[0] != '+'
}

// castType returns the name of a type whose values are equal if their texts are,
// else nothing.
func castType(t *pg_query.TypeName) string {
	if t.GetSetof() || t.GetPctType() || len(t.GetTypmods()) > 0 || len(t.GetArrayBounds()) > 0 {
		return ""
	}
	names := t.GetNames()
	if len(names) == 2 && names[0].GetString_().GetSval() != "pg_catalog" || len(names) == 0 || len(names) > 2 {
		return ""
	}
	switch name := names[len(names)-1].GetString_().GetSval(); name {
	case "int2", "int4", "int8", "text", "varchar", "uuid":
		return name
	}
	return ""
}
