package transcode

import (
	"errors"
	"testing"
)

// TestUnsupported: what is not known is refused before the first byte.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	const before = `CREATE TYPE pair AS (a int, b int); CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN small AS int CHECK (VALUE < 10);
		CREATE DOMAIN smaller AS small; CREATE DOMAIN list AS int4[]; CREATE DOMAIN hour AS interval hour`
	for kind, ok := range map[string]bool{
		"money": false, "xml": false, "point": false, "int4range": false, "pair": false, "pair[]": false, "tsvector": false, "int2vector": false,
		"oidvector": false, "pg_lsn": false, `"char"`: false, "regclass": false, "interval hour": false, "interval hour[]": false, "hour": false, "hour[]": false,
		"smaller": false, "smaller[]": false, "list[]": false, "money[]": false,
		"mood": true, "mood[]": true, "small": true, "small[]": true, "list": true, "interval": true, "interval[]": true, "numeric(4,1)[]": true,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := newOracle(t, kind, before)
			if _, err := New([]Column{o.column}, o.format, o.settings); ok != (err == nil) || !ok && !errors.Is(err, ErrUnsupported) {
				t.Errorf("%+v: %v", o.column, err)
			}
		})
	}
}

func TestUnsupportedSettings(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Settings){
		"none": func(*Settings) {}, "version": func(s *Settings) { s.Version = 130000 }, "encoding": func(s *Settings) { s.ClientEncoding = "LATIN1" },
		"no encoding": func(s *Settings) { s.ClientEncoding, s.ServerEncoding = "", "" }, "intervals": func(s *Settings) { s.IntervalStyle = "sql_standard" },
	} {
		s := benchSettings
		change(&s)
		_, err := New([]Column{{Base: oidInterval, Typmod: -1}}, Format{}, s)
		if (name == "none") != (err == nil) || err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(nil, Format{}, benchSettings); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no columns: %v", err)
	}
}

// TestDescribe: columns come in the order of the names, dropped ones don't.
func TestDescribe(t *testing.T) {
	t.Parallel()
	o := newOracle(t, "int4")
	const change = `ALTER TABLE a ADD "é "" x" varchar(7)[]; ALTER TABLE a DROP n; ALTER TABLE a ADD u uuid; SET TimeZone = 'Asia/Kolkata'; SET array_nulls = off`
	if _, err := o.conn.Exec(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	d := o.describe(t, "'a'::regclass", "u", `é " x`, "n", "v")
	cols, s := d.Columns, d.Settings
	if len(cols) != 4 {
		t.Fatal(cols)
	}
	list := cols[1]
	if cols[0].Base != oidUUID || list.Base != 1015 || list.ElementOID != oidVarchar || list.Element.Base != oidVarchar || list.Typmod != 11 || cols[2].Base != 0 || cols[3].Base != oidInt4 {
		t.Errorf("%+v", cols)
	}
	if s.TimeZone != "Asia/Kolkata" || s.ArrayNulls || s.Version/10000 < 14 || s.ServerEncoding != "UTF8" || s.Abbreviations != "Default" || s.IntervalStyle != "postgres" {
		t.Errorf("%+v", s)
	}
	if _, err := Describe([]byte("{"), nil); err == nil {
		t.Error("half a row is read")
	}
}

// TestDescribeCode: what could tell the client something, or draw numbers, is known.
func TestDescribeCode(t *testing.T) {
	t.Parallel()
	const before = `CREATE FUNCTION loud(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE NOTICE '%', $1; RETURN $1; END$$;
		CREATE FUNCTION less(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 < $2';
		CREATE OPERATOR <<<< (LEFTARG = int, RIGHTARG = int, FUNCTION = less);
		CREATE DOMAIN small AS int CHECK (VALUE < 10); CREATE DOMAIN loudly AS int CHECK (loud(VALUE) < 10); CREATE SEQUENCE s`
	for definition, want := range map[string]struct{ code, draws bool }{
		"(v int CHECK (v > 0), w small)":                      {},
		"(v int, w timestamptz DEFAULT now())":                {},
		"(v int PRIMARY KEY, w serial)":                       {draws: true},
		"(v int, w int GENERATED ALWAYS AS IDENTITY)":         {draws: true},
		"(v int, w int DEFAULT 10 - nextval('s'))":            {draws: true},
		"(w int, v serial)":                                   {},
		"(v int, w int DEFAULT loud(1))":                      {code: true},
		"(v int, CHECK (loud(v) > 0))":                        {code: true},
		"(v int, CHECK (1 <<<< v))":                           {code: true},
		"(v loudly)":                                          {code: true},
		"(v loudly[])":                                        {code: true},
		"(v int, w int GENERATED ALWAYS AS (loud(v)) STORED)": {code: true},
		"(v int); CREATE INDEX ON x (loud(v))":                {code: true},
		"(v int); CREATE INDEX ON x (v) WHERE loud(v) > 0":    {code: true},
		"(v int) PARTITION BY LIST (loud(v))":                 {code: true},
		"(v int) PARTITION BY LIST (v); CREATE TABLE y PARTITION OF x (CHECK (loud(v) > 0)) DEFAULT": {code: true},
		"(v int) PARTITION BY LIST (v); CREATE TABLE y PARTITION OF x DEFAULT":                       {},
	} {
		t.Run(definition, func(t *testing.T) {
			t.Parallel()
			o := newOracle(t, "int", before, "CREATE TABLE x "+definition)
			if d := o.describe(t, "'public.x'::pg_catalog.regclass", "v"); d.UserCode != want.code || d.Draws != want.draws {
				t.Errorf("code %v, draws %v", d.UserCode, d.Draws)
			}
		})
	}
}
