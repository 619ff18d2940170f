package routing

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// pairColumns are the routing columns of both tables.
type pairColumns struct{ main, aux string }

// toAux is the auxiliary table's name of a column of the main table.
func (p pairColumns) toAux(name string) string {
	if name == p.main {
		return p.aux
	}
	return name
}

// mainText turns a definition on the auxiliary table into that on the main one.
func (p pairColumns) mainText(def string) string {
	if p.main == p.aux {
		return def
	}
	def = strings.ReplaceAll(def, pgident.Quote(p.aux), pgident.Quote(p.main))
	return regexp.MustCompile(`\b`+regexp.QuoteMeta(p.aux)+`\b`).ReplaceAllLiteralString(def, p.main)
}

// differences says where an auxiliary table isn't like its main table. The
// columns' types are compared by every load already (rewrite.Routing).
func differences(main, aux *tableFacts, p pairColumns) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, c := range main.Columns {
		i := slices.IndexFunc(aux.Columns, func(o columnFacts) bool { return o.Name == p.toAux(c.Name) })
		if i < 0 {
			continue
		}
		o, name := aux.Columns[i], pgident.Quote(c.Name)
		if c.NotNull != o.NotNull {
			add("column %s is NOT NULL in one table only", name)
		}
		if o.Identity != "" {
			add("column %s has a sequence of its own in the auxiliary table (GENERATED AS IDENTITY)", name)
		} else if own := p.mainText(o.Default); own != c.Default {
			add("the default of column %s is %s in the main table, and %s in the auxiliary one", name, orNone(c.Default), orNone(own))
		}
	}
	lists := []struct {
		what      string
		main, aux []string
	}{
		{"key", keyDefs(main, nil), keyDefs(aux, p.mainText)},
		{"check constraint", constraintDefs(main, "c", nil), constraintDefs(aux, "c", p.mainText)},
		{"foreign key", constraintDefs(main, "f", nil), constraintDefs(aux, "f", p.mainText)},
		{"trigger", main.Triggers, aux.Triggers},
	}
	for _, l := range lists {
		for _, def := range missing(l.main, l.aux) {
			add("the auxiliary table lacks the %s %s", l.what, def)
		}
		for _, def := range missing(l.aux, l.main) {
			add("the main table lacks the %s %s", l.what, def)
		}
	}
	return out
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// apart says which keys cannot see a row of the other table with the same
// values: those without the routing column. Rows of one group are in one table.
func apart(main *tableFacts, p pairColumns) []string {
	var out []string
	for _, k := range main.Keys {
		if !slices.Contains(k.Columns, p.main) {
			out = append(out, k.Def)
		}
	}
	return out
}

func keyDefs(f *tableFacts, text func(string) string) []string {
	var out []string
	for _, k := range f.Keys {
		out = append(out, k.Def)
	}
	return mapped(out, text)
}

func constraintDefs(f *tableFacts, typ string, text func(string) string) []string {
	var out []string
	for _, k := range f.Constraints {
		if k.Type == typ {
			out = append(out, k.Def)
		}
	}
	return mapped(out, text)
}

func mapped(texts []string, text func(string) string) []string {
	if text != nil {
		for i := range texts {
			texts[i] = text(texts[i])
		}
	}
	return texts
}

// missing returns what of want is not in have, one for one.
func missing(want, have []string) []string {
	have = slices.Clone(have)
	var out []string
	for _, w := range want {
		if i := slices.Index(have, w); i >= 0 {
			have = slices.Delete(have, i, i+1)
		} else {
			out = append(out, w)
		}
	}
	return out
}
