package values

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// plainColumn is a column of a type of the server's.
func plainColumn(base uint32, category, name string) *Column {
	return &Column{Base: base, Typmod: -1, Category: category, Name: name, Visible: true, Delimiter: ","}
}

// commonParams are what drivers send most.
var commonParams = []struct {
	driver, column, data string
	oid                  uint32
	binary               bool
	want                 string
}{
	{"node-pg", "timestamptz", "2024-01-02T03:04:05.678+00:00", 0, false, "2024-01-02T03:04:05.678+00:00"},
	{"node-pg", "int4[]", "{1,2}", 0, false, "{1,2}"},
	{"pgjdbc setTimestamp", "timestamptz", "2024-01-02 03:04:05.678+00", 0, false, "2024-01-02 03:04:05.678+00"},
	{"pgjdbc setString", "text", "x", oidVarchar, false, "x"},
	{"pgjdbc setString", "bpchar", "x", oidVarchar, false, "x"},
	{"pgjdbc setLong", "int4", string(binary.BigEndian.AppendUint64(nil, 7)), oidInt8, true, "7"},
	{"pgjdbc setLong", "numeric", "7", oidInt8, false, "7"},
	{"pgjdbc setInt", "int8", string(binary.BigEndian.AppendUint32(nil, 1<<32-7)), oidInt4, true, "-7"},
	{"pgjdbc setDouble", "numeric", "0.1", oidFloat8, false, "0.1"},
	{"pgjdbc setBoolean", "bool", "TRUE", oidBool, false, "TRUE"},
	{"psycopg 3 int", "int8", "-32768", oidInt2, false, "-32768"},
	{"psycopg 3 int", "int4", "5", oidInt2, false, "5"},
	{"psycopg 3 int", "float4", "5", oidInt2, false, "5"},
	{"psycopg 3 int", "int4", "70000", oidInt4, false, "70000"},
	{"psycopg 3 int", "numeric", "5000000000", oidInt8, false, "5000000000"},
	{"psycopg 3 float", "float4", "1.5", oidFloat8, false, "1.5"},
	{"psycopg 3 Decimal", "float8", "1.50", oidNumeric, false, "1.50"},
	{"psycopg 3 datetime", "timestamptz", "2024-01-02 03:04:05.678901", oidTimestamp, false, "2024-01-02 03:04:05.678901"},
	{"psycopg 3 date", "timestamp", "2024-01-02", oidDate, false, "2024-01-02"},
	{"psycopg 3 Json", "jsonb", `{"a": 1}`, oidJSON, false, `{"a": 1}`},
	{"pgx float", "float8", string(binary.BigEndian.AppendUint64(nil, math.Float64bits(0.1))), 0, true, "0.1"},
	{"pgx time", "timestamptz", string(binary.BigEndian.AppendUint64(nil, 757479845678901)), 0, true, "2024-01-02 03:04:05.678901+00"},
	{"pgx slice", "int4[]", "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x05", 0, true, `{"5"}`},
	{"Npgsql string", "varchar", "é", oidText, true, "é"},
	{"Npgsql Guid", "uuid", "0123456789abcdef", oidUUID, true, "30313233343536373839616263646566"},
	{"Npgsql decimal", "numeric", "\x00\x02\x00\x00\x40\x00\x00\x02\x00\x01\x13\x88", oidNumeric, true, "-1.50"},
	{"Npgsql TimeSpan", "interval", "\x00\x00\x00\x00\x00\x0f\x42\x40\x00\x00\x00\x01\xff\xff\xff\xff", oidInterval, true, "-1 mons +1 days +00:00:01"},
}

// TestCommonParamsAreTaken: what drivers send most goes the fast way. All of
// these values are the same natively; param_pg_test.go holds that.
func TestCommonParamsAreTaken(t *testing.T) {
	t.Parallel()
	for _, test := range commonParams {
		p, err := NewParam(commonColumns[test.column], nil, test.oid, test.binary)
		if err != nil {
			t.Errorf("%s into %s: %v", test.driver, test.column, err)
			continue
		}
		cell, _, err := p.Cell([]byte(test.data), nil)
		if err != nil || cell.Kind != String || string(cell.Text) != test.want {
			t.Errorf("%s %q into %s: %q, %v", test.driver, test.data, test.column, cell.Text, err)
		}
		if cell, _, err := p.Cell(nil, nil); err != nil || cell.Kind != Null {
			t.Errorf("%s NULL into %s: %v, %v", test.driver, test.column, cell, err)
		}
	}
}

var commonColumns = map[string]*Column{
	"bool": plainColumn(oidBool, "B", "boolean"), "int2": plainColumn(oidInt2, "N", "smallint"), "int4": plainColumn(oidInt4, "N", "integer"), "int8": plainColumn(oidInt8, "N", "bigint"),
	"float4": plainColumn(oidFloat4, "N", "real"), "float8": plainColumn(oidFloat8, "N", "double precision"), "numeric": plainColumn(oidNumeric, "N", "numeric"),
	"text": plainColumn(oidText, "S", "text"), "varchar": plainColumn(oidVarchar, "S", "character varying"), "bpchar": plainColumn(oidBPChar, "S", "bpchar"), "name": plainColumn(oidName, "S", "name"),
	"date": plainColumn(oidDate, "D", "date"), "timestamp": plainColumn(oidTimestamp, "D", "timestamp without time zone"), "timestamptz": plainColumn(oidTimestamptz, "D", "timestamp with time zone"),
	"interval": plainColumn(oidInterval, "T", "interval"), "uuid": plainColumn(oidUUID, "U", "uuid"), "jsonb": plainColumn(oidJSONB, "U", "jsonb"), "bytea": plainColumn(oidBytea, "U", "bytea"),
	"int4[]": plainColumn(1007, "A", "integer[]"), "text[]": plainColumn(oidTextArray, "A", "text[]"), "inet": plainColumn(oidInet, "I", "inet"),
	"enum": plainColumn(16400, "E", "mood"), "nested": {Category: "N", Name: "ddpos", Typmod: -1},
	"hours": {Base: oidInterval, Typmod: 1 << 26, Category: "T", Name: "interval hour"}, "money": {Base: oidNumeric, Typmod: 327686, Category: "N", Name: "numeric(5,2)"},
}

// TestParamsThatPass would fail natively, or come to something else.
func TestParamsThatPass(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		column, data string
		oid          uint32
		binary       bool
		cast         string
	}{
		{column: "int8", data: "3000000000", oid: oidInt4},
		{column: "int4", data: "40000", oid: oidInt2},
		{column: "int8", data: "0x10", oid: oidInt4},
		{column: "int4", data: "1", oid: oidText},
		{column: "text", data: "1", oid: oidInt4},
		{column: "text", data: "a ", oid: oidBPChar},
		{column: "jsonb", data: "1", oid: oidText},
		{column: "timestamp", data: "2024-01-02 03:04:05+00", oid: oidTimestamptz},
		{column: "timestamptz", data: "2024-01-02 03:04:05+00", oid: oidTimestamp},
		{column: "float4", data: "1e39", oid: oidFloat8},
		{column: "float8", data: "NaN", oid: oidNumeric},
		{column: "hours", data: "1"},
		{column: "money", data: "1e-20000"},
		{column: "nested", data: "x", oid: oidInt4},
		{column: "name", data: strings.Repeat("x", 64), binary: true},
		{column: "jsonb", data: "\x02{}", binary: true},
		{column: "float8", data: "\x7f\xf8\x00\x00\x00\x00\x00\x01", binary: true},
		{column: "numeric", data: "\x00\x01\x7f\xff\x00\x00\x00\x00\x00\x01", binary: true},
		{column: "int4", data: "123", binary: true},
		{column: "int4", data: "1", oid: oidInt8, cast: "int4"},
		{column: "bpchar", data: "1", oid: oidBPChar, cast: "varchar"},
	} {
		var cast []byte
		if test.cast != "" {
			cast = []byte(test.cast)
		}
		scratch := []byte("before")
		cell, scratch, err := ParamCell(commonColumns[test.column], cast, test.oid, test.binary, []byte(test.data), scratch)
		if !errors.Is(err, PassParamType) || string(scratch) != "before" {
			t.Errorf("%+v: %q, %v, scratch %q", test, cell.Text, err, scratch)
		}
	}
}

// FuzzParamCell: nothing is read beyond a value, nothing before scratch is
// touched, and one value has one text.
func FuzzParamCell(f *testing.F) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range commonColumns {
			if !yield(name) {
				return
			}
		}
	})
	for i := range names {
		f.Add(uint8(i), uint8(0), true, []byte("12345678"))
		f.Add(uint8(i), uint8(i), false, []byte("2024-01-02 03:04:05"))
	}
	for _, data := range []string{"", "1", "-32768", "0123456789abcdef", "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x05"} {
		f.Add(uint8(slices.Index(names, "numeric")), uint8(0), true, []byte(data))
		f.Add(uint8(slices.Index(names, "int4[]")), uint8(0), true, []byte(data))
	}
	f.Fuzz(func(t *testing.T, column, oid uint8, binary bool, data []byte) {
		col := commonColumns[names[int(column)%len(names)]]
		types := append([]uint32{0, oidUnknown, col.Base, oidText, oidVarchar, oidInt2, oidInt4, oidInt8, oidFloat4, oidFloat8, oidNumeric, oidDate, oidTimestamp, oidJSON}, 1007, 1009)
		declared := types[int(oid)%len(types)]
		if data == nil {
			data = []byte{}
		}
		// A value in the middle of a message, and by itself with nothing behind.
		message := slices.Concat([]byte("0101"), data, []byte("0101"))
		within := message[4 : 4+len(data)]
		scratch := make([]byte, 6, 64)
		copy(scratch, "before")
		cell, scratch, err := ParamCell(col, nil, declared, binary, within, scratch)
		alone, _, aloneErr := ParamCell(col, nil, declared, binary, slices.Clip(slices.Clone(data)), nil)
		if err != aloneErr || !bytes.Equal(cell.Text, alone.Text) {
			t.Fatalf("%q, %v; alone %q, %v", cell.Text, err, alone.Text, aloneErr)
		}
		if string(scratch[:6]) != "before" || string(message) != "0101"+string(data)+"0101" {
			t.Fatalf("scratch %q, message %q", scratch, message)
		}
		if err == nil && cell.Kind != String {
			t.Fatalf("%q became kind %d", data, cell.Kind)
		}
		if len(cell.Text) > 2*len(data)+8*maxNumber {
			t.Fatalf("%d bytes became %d", len(data), len(cell.Text))
		}
	})
}

// benchParams is a row as pgx sends it, or as text.
func benchParams(b *testing.B, binaryFormat bool) (params []Parameter, data [][]byte) {
	be := binary.BigEndian
	columns := []string{"int8", "int4", "text", "numeric", "bool", "timestamptz", "text"}
	data = [][]byte{[]byte("123456789"), []byte("4711"), []byte("customer number 123456"), []byte("1234.56"), []byte("t"), []byte("2024-05-06 07:08:09.123456+00"), []byte("a note of some length, as they are")}
	if binaryFormat {
		data[0], data[1] = be.AppendUint64(nil, 123456789), be.AppendUint32(nil, 4711)
		data[3] = []byte("\x00\x02\x00\x00\x00\x00\x00\x02\x04\xd2\x15\xe0")
		data[4], data[5] = []byte{1}, be.AppendUint64(nil, 768294489123456)
	}
	for _, name := range columns {
		p, err := NewParam(commonColumns[name], nil, 0, binaryFormat)
		if err != nil {
			b.Fatal(err)
		}
		params = append(params, p)
	}
	return params, data
}

// BenchmarkParams counts the bytes of the text that comes out.
func BenchmarkParams(b *testing.B) {
	for _, format := range []string{"text", "binary"} {
		b.Run(format, func(b *testing.B) {
			params, data := benchParams(b, format == "binary")
			var scratch []byte
			size := 0
			row := func() {
				scratch, size = scratch[:0], 0
				for i := range params {
					var cell Cell
					var err error
					if cell, scratch, err = params[i].Cell(data[i], scratch); err != nil {
						b.Fatal(err)
					}
					size += len(cell.Text)
				}
			}
			row()
			if n := testing.AllocsPerRun(100, row); n != 0 {
				b.Errorf("%v allocations a row", n)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				row()
			}
		})
	}
}
