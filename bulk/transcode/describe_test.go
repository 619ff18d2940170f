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
	var row []byte
	if err := o.conn.QueryRow(t.Context(), "SELECT 'a'::regclass::oid").Scan(&o.column.ElementOID); err != nil {
		t.Fatal(err)
	}
	if err := o.conn.QueryRow(t.Context(), DescribeSQL(o.column.ElementOID)).Scan(&row); err != nil {
		t.Fatal(err)
	}
	cols, s, err := Describe(row, []string{"u", `é " x`, "n", "v"})
	if err != nil || len(cols) != 4 {
		t.Fatal(cols, err)
	}
	list := cols[1]
	if cols[0].Base != oidUUID || list.Base != 1015 || list.ElementOID != oidVarchar || list.Element.Base != oidVarchar || list.Typmod != 11 || cols[2].Base != 0 || cols[3].Base != oidInt4 {
		t.Errorf("%+v", cols)
	}
	if s.TimeZone != "Asia/Kolkata" || s.ArrayNulls || s.Version/10000 < 14 || s.ServerEncoding != "UTF8" || s.Abbreviations != "Default" || s.IntervalStyle != "postgres" {
		t.Errorf("%+v", s)
	}
	if _, _, err := Describe([]byte("{"), nil); err == nil {
		t.Error("half a row is read")
	}
}
