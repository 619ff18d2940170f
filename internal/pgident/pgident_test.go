package pgident

import "testing"

func TestQuoting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{Quote("a"), `"a"`},
		{Quote(`a"b`), `"a""b"`},
		{Quote("a\x00b"), `"ab"`},
		{Qualified("s", "t"), `"s"."t"`},
		{Qualified("", "T x"), `"T x"`},
		{List([]string{"a", `b"`}), `"a", "b"""`},
		{List(nil), ``},
		{Literal("it's"), `'it''s'`},
		{Literal(`a\'b`), `E'a\\''b'`},
		{LiteralArray([]string{"a", `\`}), `ARRAY['a', E'\\']::pg_catalog.text[]`},
		{LiteralArray(nil), `ARRAY[]::pg_catalog.text[]`},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
