package rewrite

import (
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// gates makes the conditions that keep a statement from looking into the table
// that has none of the groups it asks for.
type gates struct {
	s *ReadStatement
	o PlanOptions
	// constants are those that stand in the conditions.
	constants []constant
}

// gate returns conditions for the main and the auxiliary table, empty where the
// routing column is not pinned.
func (g *gates) gate(ref *pgquery.RawRef, t *readTable) (main, aux string, ok bool) {
	if !t.open || g.s.raw.Copy {
		return "", "", false
	}
	for _, pin := range g.s.raw.Levels[ref.Level].Pins {
		if pin.Column != t.in.Routing.Column || pin.Qualifier != "" && pin.Qualifier != ref.Name {
			continue
		}
		if rows, ok := g.rows(&pin, t); ok {
			cond := t.in.Routing.ToAux(t.in, "pgbulkproxy_pin.v")
			return "EXISTS (SELECT FROM " + rows + " WHERE NOT " + cond + ")", "EXISTS (SELECT FROM " + rows + " WHERE " + cond + ")", true
		}
	}
	return "", "", false
}

// rows returns an item of FROM with the values of a pin as text. Only types whose
// values are equal exactly if their texts are will do.
func (g *gates) rows(pin *pgquery.RawPin, t *readTable) (string, bool) {
	family, cast := declared[t.typ], casts[t.typ]
	if family == "" || !t.exact || !g.alike(pin.Values) {
		return "", false
	}
	if v := pin.Values[0]; v.Array {
		array, ok := g.array(v, family, cast)
		return "pg_catalog.unnest(" + array + ") AS pgbulkproxy_pin(v)", ok
	}
	if len(pin.Values) == 1 && cast == "pg_catalog.varchar" {
		cast = "pg_catalog.text" // there is no operator for varchar
	}
	var texts []string
	for _, v := range pin.Values {
		text, ok := g.value(v, family, cast)
		if !ok {
			return "", false
		}
		if v.Text != "" {
			g.constants = append(g.constants, constant{v.Text, v.Start})
		}
		texts = append(texts, "(("+text+")::pg_catalog.text)")
	}
	return "(VALUES " + strings.Join(texts, ", ") + ") AS pgbulkproxy_pin(v)", true
}

// alike says that the values of a list have their types from the same place: else
// the server looks for a common one.
func (g *gates) alike(values []pgquery.RawValue) bool {
	kind := func(v pgquery.RawValue) string {
		switch {
		case v.Cast != "":
			return v.Cast
		case v.Param > 0 && g.oid(v.Param) != 0:
			return strconv.FormatUint(uint64(g.oid(v.Param)), 10)
		case v.Integer:
			return "integer"
		}
		return ""
	}
	for _, v := range values {
		if kind(v) != kind(values[0]) {
			return false
		}
	}
	return true
}

// casts are the types that constants and parameters without a type of their own
// have beside a column of such a type.
var casts = map[uint32]string{21: "pg_catalog.int2", 23: "pg_catalog.int4", 20: "pg_catalog.int8", 25: "pg_catalog.text", 1043: "pg_catalog.varchar", 2950: "pg_catalog.uuid"}

// families are the types whose values compare as one another.
var families = map[string]string{"int2": "int", "int4": "int", "int8": "int", "text": "text", "varchar": "text", "uuid": "uuid"}

// declared are the same for the types that a client declares for parameters.
var declared = map[uint32]string{21: "int", 23: "int", 20: "int", 25: "text", 1043: "text", 2950: "uuid"}

// declaredArrays are those of arrays.
var declaredArrays = map[uint32]string{1005: "int", 1007: "int", 1016: "int", 1009: "text", 1015: "text", 2951: "uuid"}

// value returns one value as an expression, of the type that it has in the
// client's condition.
func (g *gates) value(v pgquery.RawValue, family, cast string) (string, bool) {
	text := v.Text
	if v.Param > 0 {
		if !g.once(v.Param) {
			return "", false
		}
		text = "$" + strconv.Itoa(v.Param)
	}
	switch {
	case v.Cast != "":
		return text + "::pg_catalog." + v.Cast, families[v.Cast] == family
	case v.Param > 0:
		if oid := g.oid(v.Param); oid != 0 {
			return text, declared[oid] == family
		}
		return text + "::" + cast, true
	case v.Integer:
		return text, family == "int"
	}
	return text + "::" + cast, true
}

func (g *gates) array(v pgquery.RawValue, family, cast string) (string, bool) {
	if v.Param == 0 || !g.once(v.Param) {
		return "", false
	}
	text := "$" + strconv.Itoa(v.Param)
	if oid := g.oid(v.Param); oid != 0 {
		return text + "::pg_catalog.text[]", declaredArrays[oid] == family
	}
	if cast == "pg_catalog.varchar" {
		cast = "pg_catalog.text"
	}
	return "(" + text + "::" + cast + "[])::pg_catalog.text[]", true
}

// once: a parameter that stands in two places has the type of the first, which
// must not be one of ours.
func (g *gates) once(n int) bool { return g.s.raw.Params[n] == 1 }

func (g *gates) oid(n int) uint32 {
	if n <= len(g.o.Params) {
		return g.o.Params[n-1]
	}
	return 0
}
