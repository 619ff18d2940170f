package values

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// bound is a parameter as Parse and Bind have it.
type bound struct {
	sql    string
	oid    uint32
	binary bool
	data   []byte
	asks   bool // for the parameter's type
	result bool // in binary format
}

// bind runs each statement with its one parameter, without waiting for the ones
// before. It returns the SQLSTATE and message of those that failed, and for the
// others the last value of a row, or the type that was asked for.
func (s *session) bind(statements []bound) (states []string, values [][]byte) {
	s.t.Helper()
	values = make([][]byte, len(statements))
	states = s.converse(len(statements), func(buf []byte, i int) []byte {
		return statements[i].encode(buf)
	}, func(i int, message pgproto3.BackendMessage) {
		switch m := message.(type) {
		case *pgproto3.DataRow:
			values[i] = slices.Clone(m.Values[len(m.Values)-1])
		case *pgproto3.ParameterDescription:
			values[i] = fmt.Append(nil, m.ParameterOIDs)
		}
	})
	return states, values
}

func (b *bound) encode(buf []byte) []byte {
	var format, result int16
	if b.binary {
		format = 1
	}
	if b.result {
		result = 1
	}
	buf = must((&pgproto3.Parse{Query: b.sql, ParameterOIDs: []uint32{b.oid}}).Encode(buf))
	if b.asks {
		buf = must((&pgproto3.Describe{ObjectType: 'S'}).Encode(buf))
	} else {
		buf = must((&pgproto3.Bind{ParameterFormatCodes: []int16{format}, Parameters: [][]byte{b.data}, ResultFormatCodes: []int16{result}}).Encode(buf))
		buf = must((&pgproto3.Execute{}).Encode(buf))
	}
	return must((&pgproto3.Sync{}).Encode(buf))
}

// loader puts parameters into tables of both kinds.
type loader struct {
	s       *session
	targets []*target
	bound   map[*target][]bound
}

func newLoader(s *session, types []string) *loader {
	s.t.Helper()
	return &loader{s: s, targets: newTargets(s, types), bound: map[*target][]bound{}}
}

// add tries a parameter if it is taken, and says whether it is.
func (l *loader) add(tg *target, cast string, b bound) bool {
	b.sql = fmt.Sprintf("INSERT INTO n%d VALUES (%d, $1)", tg.id, len(tg.cases))
	var castBytes []byte
	if cast != "" {
		castBytes = []byte(cast)
		b.sql = fmt.Sprintf("INSERT INTO n%d VALUES (%d, $1::%s)", tg.id, len(tg.cases), cast)
	}
	cell, _, err := ParamCell(&tg.column, castBytes, b.oid, b.binary, b.data, nil)
	if err != nil {
		return false
	}
	line, err := tg.encoder.AppendRow(nil, []Cell{cell})
	if err != nil {
		return false
	}
	shown := fmt.Sprintf("%q", b.data)
	if b.binary {
		shown = fmt.Sprintf("%x", b.data)
	}
	if b.data == nil {
		shown = "NULL"
	}
	tg.cases = append(tg.cases, testCase{cell: cell, copied: string(line), sql: fmt.Sprintf("$1 %s %s of type %d", shown, cast, b.oid)})
	l.bound[tg] = append(l.bound[tg], b)
	return true
}

// compare loads both ways. It returns how many were stored by both.
func (l *loader) compare() (same int) {
	l.s.t.Helper()
	var native []bound
	var ours []command
	for _, tg := range l.targets {
		native = append(native, l.bound[tg]...)
		for k := range tg.cases {
			ours = append(ours, byCopy(tg, k, &tg.cases[k]))
		}
	}
	nativeStates, _ := l.s.bind(native)
	oursStates, _ := l.s.run(ours)
	i := 0
	for _, tg := range l.targets {
		for k := range tg.cases {
			c := &tg.cases[k]
			c.native, c.ours = nativeStates[i], oursStates[i]
			if c.native == "" && c.ours != "" && c.cell.Cast == nil {
				l.s.t.Errorf("%s into %s: natively stored, as %q %s", c.sql, tg.typ, c.copied, c.ours)
			}
			i++
		}
	}
	return compare(l.s, l.targets)
}

// declared are the types that Parse declares in these tests.
var declared = []uint32{
	oidBool, oidBytea, oidChar, oidName, oidInt8, oidInt2, oidInt4, oidText, oidOID, oidJSON, oidFloat4, oidFloat8, oidUnknown,
	oidCIDR, oidMacaddr8, oidMacaddr, oidInet, oidBPChar, oidVarchar, oidDate, oidTime, oidTimestamp, oidTimestamptz, oidInterval,
	oidTimetz, oidBit, oidVarbit, oidNumeric, oidUUID, oidJSONB, 142, 790, 3904, 1270, 1561,
	1000, 1005, 1007, 1016, 1028, 1021, 1022, 1231, 1009, 1015, 1014, 1003, 1001, 199, 3807, 2951, 1182, 1183, 1115, 1185, 1187, 1041, 651, 1040, 775,
}

// paramTexts are what text parameters are, besides the constants of SQL.
var paramTexts = slices.Concat(stringConstants, integerConstants, decimalConstants, strings.Split(
	`+5|- 5|--5|-|.|1e|1e5|-1e-5| 5 |32767|-32768|-32769|0.1|0.30000000000000004|1.7976931348623157e308|-nan|inf|1e15|123456789012345678|2.675|1e-7
2020-01-02 03:04:05|2020-01-02 03:04:05.123456|2020-01-02 03:04:05.1234567|2020-03-29 02:30:00|2020-10-25 02:30:00|2020-03-08 02:30:00|2020-11-01 01:30:00|2020-01-02T03:04:05|2020-01-02 24:00:00|2020-01-02 23:59:60|2020-01-02 03:04|2020-01-02 03:04:05Z|0001-01-01|0000-01-01|9999-12-31 23:59:59.999999|1883-11-18 12:01:00|2020-02-29|2019-02-29|2020-13-01|-infinity|2020-01-02 03:04:05.|1890-01-01 00:00:00|0099-01-02|0032-01-02 03:04:05
{"\\\\x00ff5c22","\\\\x"}|{" a","NULL","",a\"b,"c\\\\","{}",",","\t"}|{1e10,NaN,-Infinity,-0}|{2020-01-02,infinity}|{"2020-01-02 03:04:05.5","-infinity"}|{"{\"a\": \"b\\\\n\"}","[1]"}|{-5,32767}|{2147483647}|{9223372036854775807}|{192.168.0.1/24,::1}|{08:00:2b:01:02:03}|{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}|{"1 mon -2 days 03:04:05.5"}|{1.50,-0.005,123456789.123}|{aééé,日本}|{a,NULL}|{t,NULL}|[2:3]={5,6}|{03:04:05,24:00:00}`,
	"|"))

// binarySamples returns what the server sends of each text in each type.
func binarySamples(s *session, types []uint32) map[uint32][][]byte {
	s.t.Helper()
	samples := map[uint32][][]byte{}
	var ask []bound
	var of []uint32
	for _, oid := range types {
		name := s.must(fmt.Sprintf("SELECT format_type(%d, NULL)", oid))[0][0]
		if oid == oidBPChar {
			name = "bpchar"
		}
		for _, text := range paramTexts {
			ask = append(ask, bound{sql: "SELECT $1::pg_catalog.text::" + name, oid: oidText, data: []byte(text), result: true})
			of = append(of, oid)
		}
	}
	states, values := s.bind(ask)
	for i, oid := range of {
		if states[i] == "" && !slices.ContainsFunc(samples[oid], func(v []byte) bool { return string(v) == string(values[i]) }) {
			samples[oid] = append(samples[oid], values[i])
		}
	}
	return samples
}

// mutations are random bytes, and samples with a few bytes changed.
func mutations(r *rand.Rand, samples [][]byte, n int) (list [][]byte) {
	for range n {
		b := make([]byte, []int{0, 1, 2, 4, 4, 8, 8, 12, 16, 17, r.IntN(30)}[r.IntN(11)])
		if r.IntN(2) == 0 && len(samples) > 0 {
			b = slices.Clone(samples[r.IntN(len(samples))])
			if len(b) > 0 && r.IntN(4) == 0 {
				b = b[:r.IntN(len(b))]
			}
			for range min(len(b), r.IntN(3)) {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
		} else {
			for i := range b {
				b[i] = byte(r.Uint32())
			}
		}
		list = append(list, b)
	}
	return list
}

// hardSamples are binary values near the ends of their types.
func hardSamples() map[uint32][][]byte {
	hard := map[uint32][][]byte{}
	i64 := func(oid uint32, values ...int64) {
		for _, v := range values {
			hard[oid] = append(hard[oid], binary.BigEndian.AppendUint64(nil, uint64(v)))
		}
	}
	i32 := func(oid uint32, values ...uint32) {
		for _, v := range values {
			hard[oid] = append(hard[oid], binary.BigEndian.AppendUint32(nil, v))
		}
	}
	const day = microsPerDay
	stamps := []int64{0, -1, 1, 999999, -day, -day - 1, day - 1, firstDay * day, firstDay*day - 1, endDay*day - 1, endDay * day, 1<<63 - 1, -1 << 63, 1<<63 - 2, 637459200000000, -211813488000000000, 9223371331200000000 - 1, 9223371331200000000}
	i64(oidTimestamp, stamps...)
	i64(oidTimestamptz, stamps...)
	i64(oidTime, 0, 1, day, day-1, day+1, -1, 999999, 1000000, 59999999)
	i32(oidDate, 0, 1, 1<<31-1, 1<<31, 1<<32-1, uint32(endDay), uint32(endDay-1), 58, 59, 60, 365, 366, 36524, 36525, 146096, 146097)
	for _, d := range []int32{firstDay, firstDay - 1, -1, -365, -36525, -306} {
		i32(oidDate, uint32(d))
	}
	i32(oidFloat4, 0x80000000, 0x7fc00000, 0x7fc00001, 0xffc00000, 0x7f800000, 0xff800000, 1, 0x7fffff, 0x800000, 0x7f7fffff, 0x3dcccccd, 0x4b800001, 0x501502f9)
	i64(oidFloat8, -1<<63, 0x7ff8000000000000, 0x7ff8000000000001, -0x8000000000000, 0x7ff0000000000000, -0x10000000000000, 1, 0xfffffffffffff, 0x7fefffffffffffff, 0x3fb999999999999a,
		0x3ff0000010000000, 0x3ff0000030000000, 0x3ff0000010000001, 0x47efffffe0000000, 0x47effffff0000000, 0x47efffffefffffff, 0x3690000000000000, 0x3690000000000001, 0x36a0000000000000, 0x430c6bf526340000)
	for _, n := range []int{63, 64} {
		hard[oidName] = append(hard[oidName], bytes.Repeat([]byte("n"), n), bytes.Repeat([]byte("é"), n/2))
	}
	i64(oidInt8, 1<<53+1, 1e15, 1e15-1, -1e15, 1<<63-1, -1<<63)
	addHardGroups(hard)
	return hard
}

// addHardGroups adds values that are made of several.
func addHardGroups(hard map[uint32][][]byte) {
	numeric := func(weight, sign, scale int, groups ...uint16) {
		b := binary.BigEndian.AppendUint16(nil, uint16(len(groups)))
		for _, n := range append([]uint16{uint16(weight), uint16(sign), uint16(scale)}, groups...) {
			b = binary.BigEndian.AppendUint16(b, n)
		}
		hard[oidNumeric] = append(hard[oidNumeric], b)
	}
	for _, sign := range []int{0, 0x4000, 0xc000, 0xd000, 0xf000, 0x8000, 1} {
		numeric(0, sign, 0)
		numeric(0, sign, 3)
		numeric(1, sign, 2, 1, 2345, 6789)
		numeric(-1, sign, 6, 12, 3400)
		numeric(-3, sign, 9, 1234)
		numeric(-3, sign, 16, 1234)
		numeric(3, sign, 1, 1)
		numeric(2, sign, 0, 0, 0, 77)
		numeric(0, sign, 0, 0, 9999)
		numeric(0, sign, 5, 10000)
	}
	array := func(words ...uint32) {
		var b []byte
		for _, w := range words {
			b = binary.BigEndian.AppendUint32(b, w)
		}
		hard[1007] = append(hard[1007], b)
	}
	array(0, 0, oidInt4)
	array(0, 2, oidInt4)
	array(0, 0, oidInt4, 0)
	array(1, 0, oidInt4, 0, 1)
	array(1, 1, oidInt4, 1, 1, 4, 7)
	array(1, 2, oidInt4, 1, 1, 4, 7)
	array(1, 0, oidInt8, 1, 1, 4, 7)
	array(1, 0, oidInt4, 1, 1, 4, 7, 7)
	array(1, 0, oidInt4, 1<<32-1, 1, 4, 7)
	array(2, 0, oidInt4, 1, 1, 1, 1, 4, 7)
	numeric(249, 0, 0, 1)
	numeric(250, 0, 0, 1)
	numeric(-250, 0, 1000, 1)
	numeric(0, 0, 0x4000, 1)
}

func (l *loader) addBinary(tg *target, oid uint32, lists ...[][]byte) {
	for _, list := range lists {
		for _, data := range list {
			l.add(tg, "", bound{oid: oid, binary: true, data: data})
		}
	}
}

// TestParamsAsNative puts parameters of every declared type into columns of
// every type, wherever they are taken.
func TestParamsAsNative(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	types := typingDatabase(t, s)
	samples, hard := binarySamples(s, declared), hardSamples()
	l := newLoader(s, types)
	for n, tg := range l.targets {
		for _, oid := range append([]uint32{0}, declared...) {
			l.add(tg, "", bound{oid: oid})
			l.add(tg, "", bound{oid: oid, binary: true})
			for i, text := range paramTexts {
				// Where the bytes are the text, a part of them is enough for each type.
				if oid == 0 && (i+n)%6 == 0 || oid == tg.column.Base && (i+n)%24 == 0 || oid != 0 && oid != tg.column.Base {
					l.add(tg, "", bound{oid: oid, data: []byte(text)})
				}
			}
			binary := oid
			if oid == 0 {
				binary = tg.column.Base
			}
			l.addBinary(tg, oid, hard[binary], samples[binary], mutations(r, samples[binary], 12))
		}
	}
	if same := l.compare(); same < 25000 {
		t.Errorf("only %d stored", same)
	}
	l.coverage()
}

// coverage holds that values of each type that is read in binary were stored.
func (l *loader) coverage() {
	l.s.t.Helper()
	stored := map[uint32]int{}
	for _, tg := range l.targets {
		for k, b := range l.bound[tg] {
			if b.binary && b.data != nil && tg.cases[k].native == "" && tg.cases[k].ours == "" {
				stored[b.oid]++
			}
		}
	}
	for _, oid := range slices.Concat(slices.Collect(maps.Keys(readers)), slices.Collect(maps.Keys(elements))) {
		if stored[oid] < 2 {
			l.s.t.Errorf("%d values of type %d stored", stored[oid], oid)
		}
	}
}

// TestCastParamsAsNative does the same with casts of parameters.
func TestCastParamsAsNative(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	l := newLoader(s, typingDatabase(t, s))
	samples := binarySamples(s, []uint32{oidInt4, oidVarchar, oidBPChar, oidNumeric, oidTimestamptz, oidJSONB})
	for _, tg := range l.targets {
		for _, line := range castNames {
			for _, cast := range strings.Split(line, "\n") {
				for _, oid := range []uint32{0, oidUnknown, tg.column.Base, oidText, oidVarchar, oidInt4} {
					l.add(tg, cast, bound{oid: oid})
					for _, text := range castTexts {
						l.add(tg, cast, bound{oid: oid, data: []byte(text)})
					}
				}
				for i, data := range samples[tg.column.Base] {
					if i%8 == 0 {
						l.add(tg, cast, bound{binary: true, data: data})
					}
				}
			}
		}
	}
	if same := l.compare(); same < 1000 {
		t.Errorf("only %d stored", same)
	}
}

// TestParamsInOtherSessions: no setting changes what our texts mean.
func TestParamsInOtherSessions(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	r := rand.New(rand.NewPCG(1, 2))
	types := strings.Fields("date time timestamp timestamptz timestamptz(0) interval interval(0) float4 float8 numeric text bytea bool inet jsonb")
	types = append(types, "interval hour", "interval minute to second", "interval year to month")
	samples := binarySamples(s, []uint32{oidDate, oidTime, oidTimestamp, oidTimestamptz, oidInterval, oidFloat4, oidFloat8, oidNumeric, oidBytea, oidInet})
	hard := hardSamples()
	for i, settings := range []string{
		"SET DateStyle = 'German, DMY'; SET IntervalStyle = sql_standard; SET TimeZone = 'Asia/Kolkata'; SET bytea_output = escape; SET extra_float_digits = -3",
		"SET DateStyle = 'SQL, MDY'; SET IntervalStyle = postgres_verbose; SET TimeZone = 'America/New_York'; SET client_encoding = LATIN1",
		"SET DateStyle = 'Postgres, YMD'; SET IntervalStyle = iso_8601; SET TimeZone = 'Europe/Berlin'",
	} {
		s.must("DROP TABLE IF EXISTS " + pairs(len(types)))
		s.must(settings)
		l := newLoader(s, types)
		for _, tg := range l.targets {
			for _, oid := range []uint32{tg.column.Base, oidDate, oidTimestamp, oidFloat8, oidNumeric} {
				for _, text := range paramTexts {
					if oid != tg.column.Base {
						l.add(tg, "", bound{oid: oid, data: []byte(text)})
					}
				}
				l.addBinary(tg, oid, hard[oid], samples[oid], mutations(r, samples[oid], 50))
			}
		}
		if same := l.compare(); same < 1000 {
			t.Errorf("settings %d: only %d stored", i, same)
		}
	}
}

// TestInferredParamTypes: what Parse leaves open becomes the column's own type,
// in each row of a list.
func TestInferredParamTypes(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	l := newLoader(s, typingDatabase(t, s))
	var ask []bound
	var want []string
	for _, tg := range l.targets {
		own := s.must(fmt.Sprintf("SELECT atttypid::int8 FROM pg_attribute WHERE attrelid = 'n%d'::regclass AND attname = 'v'", tg.id))[0][0]
		for _, oid := range []uint32{0, oidUnknown} {
			ask = append(ask, bound{sql: fmt.Sprintf("INSERT INTO n%d VALUES (1, $1)", tg.id), oid: oid, asks: true},
				bound{sql: fmt.Sprintf("INSERT INTO n%d VALUES (1, NULL), ($2, $1)", tg.id), oid: oid, asks: true})
			want = append(want, "["+own+"]", "["+own+" "+strconv.Itoa(oidInt4)+"]")
		}
	}
	states, values := s.bind(ask)
	for i, b := range ask {
		if states[i] != "" || string(values[i]) != want[i] {
			t.Errorf("%s: %s %s, want %s", b.sql, values[i], states[i], want[i])
		}
	}
	if len(ask) < 400 {
		t.Errorf("only %d", len(ask))
	}
}
