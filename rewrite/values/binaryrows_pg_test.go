package values

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// binaryLoader puts parameters into tables by an INSERT, and by COPY in binary.
type binaryLoader struct {
	*loader
	rows map[*target]map[uint32]*BinaryRows
}

func newBinaryLoader(s *session, types []string) *binaryLoader {
	s.t.Helper()
	return &binaryLoader{loader: newLoader(s, types), rows: map[*target]map[uint32]*BinaryRows{}}
}

// addRow tries a parameter if it is taken.
func (l *binaryLoader) addRow(tg *target, b bound) {
	if l.rows[tg] == nil {
		l.rows[tg] = map[uint32]*BinaryRows{}
	}
	rows, known := l.rows[tg][b.oid]
	if !known {
		rows, _ = NewBinaryRows([]Column{tg.column}, []uint32{b.oid})
		l.rows[tg][b.oid] = rows
	}
	if rows == nil {
		return
	}
	format := []byte{0, 0}
	if b.binary {
		format[1] = 1
	}
	if !rows.Bind(format, appendField(nil, b.data), 1) {
		return
	}
	row, ok := rows.AppendRow(nil)
	if !ok {
		return
	}
	if rest := rows.Rest(); len(rest) > 0 || rows.Left() > 0 || binary.BigEndian.Uint16(row) != 1 {
		l.s.t.Fatalf("%x of %x, %x left", row, b.data, rest)
	}
	b.sql = fmt.Sprintf("INSERT INTO n%d VALUES (%d, $1)", tg.id, len(tg.cases))
	shown := fmt.Sprintf("%q", b.data)
	if b.binary {
		shown = fmt.Sprintf("%x", b.data)
	}
	tg.cases = append(tg.cases, testCase{copied: string(row[2:]), sql: fmt.Sprintf("$1 %s of type %d", shown, b.oid)})
	l.bound[tg] = append(l.bound[tg], b)
}

func appendField(dst, data []byte) []byte {
	if data == nil {
		return append(dst, 0xff, 0xff, 0xff, 0xff)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(data))), data...)
}

// byBinaryCopy is the way of a row.
func byBinaryCopy(tg *target, k int, c *testCase) command {
	data := binary.BigEndian.AppendUint32([]byte(BinaryHead+"\x00\x02\x00\x00\x00\x04"), uint32(k))
	return command{sql: fmt.Sprintf("COPY c%d FROM STDIN (FORMAT binary)", tg.id), data: string(data) + c.copied + BinaryEnd}
}

// compareRows loads both ways. What is stored natively is stored by COPY, too.
func (l *binaryLoader) compareRows() (same int) {
	l.s.t.Helper()
	var native []bound
	var ours []command
	for _, tg := range l.targets {
		native = append(native, l.bound[tg]...)
		for k := range tg.cases {
			ours = append(ours, byBinaryCopy(tg, k, &tg.cases[k]))
		}
	}
	nativeStates, _ := l.s.bind(native)
	oursStates, _ := l.s.run(ours)
	i := 0
	for _, tg := range l.targets {
		for k := range tg.cases {
			c := &tg.cases[k]
			c.native, c.ours = nativeStates[i], oursStates[i]
			if c.native == "" && c.ours != "" {
				l.s.t.Errorf("%s into %s: natively stored, as %x %s", c.sql, tg.typ, c.copied, c.ours)
			}
			i++
		}
	}
	return compare(l.s, l.targets)
}

// plainTexts are written as the fields of textFields want them, or nearly so.
var plainTexts = strings.Split(
	`0|-0|1|-1|00012|32767|32768|-32768|-32769|2147483647|2147483648|-2147483648|999999999999999999|1000000000000000000|t|f|true|FALSE|TRUE|false|1.5|-2.5e10|1e-310|2.2250738585072014e-308|2.2250738585072011e-308|1.7976931348623157e308|1.8e308|0.1|123456789.123456789|1e400|0e400|-0.0|5e-324
2000-01-01|1999-12-31|2000-02-29|1900-02-29|2100-02-28|0001-01-01|0001-03-01|9999-12-31|2023-04-31|2024-00-10|2024-10-00|2024-01-01 00:00:00|2024-01-01T23:59:59.999999|2024-01-01 23:59:59.5+00|2024-01-01 23:59:59.123456-08|2024-03-10 02:30:00+05:30|2024-03-10 02:30:00-00|2024-03-10 02:30:00+14|2024-03-10 02:30:00+14:30|2024-03-10 02:30:00-14:00|2024-03-10 02:30:00.1234567+00|2024-03-10 02:30:00.+00|0001-01-01 00:00:00+14|9999-12-31 23:59:59.999999-14|2024-01-01 24:00:00+00|2024-01-01 12:60:00+00|2024-01-01 12:00:60|2024-01-01 12:00:00 +01|2024-01-01 12:00:00+1|2024-01-01 12:00:00Z|2024-01-01  12:00:00|1883-11-18 12:01:00-04:56|2024-06-30 23:59:59.5
{"a":1}|{"a":{"b":[1,2.50,null,"é"]}}|[]|{"a":|"\u0000"|nul`+"\x00"+`|a|ab |ab      |abcdef|é|`+"\xff"+`|`,
	"|")

// TestBinaryRowsAsNative puts parameters of every declared type into columns of
// every type by COPY in binary, wherever they are taken.
func TestBinaryRowsAsNative(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	s := newSession(t, pg, pg.NewDatabase(t))
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	types := typingDatabase(t, s)
	samples, hard := binarySamples(s, declared), hardSamples()
	texts := slices.Concat(paramTexts, strings.Split(strings.Join(plainTexts, "\n"), "\n"))
	l := newBinaryLoader(s, types)
	for _, tg := range l.targets {
		for _, oid := range append([]uint32{0}, declared...) {
			l.addRow(tg, bound{oid: oid})
			l.addRow(tg, bound{oid: oid, binary: true})
			for _, text := range texts {
				l.addRow(tg, bound{oid: oid, data: []byte(text)})
			}
			sent := oid
			if oid == 0 {
				sent = tg.column.Base
			}
			for _, data := range slices.Concat(hard[sent], samples[sent], mutations(r, samples[sent], 20)) {
				l.addRow(tg, bound{oid: oid, binary: true, data: data})
			}
		}
	}
	same := l.compareRows()
	t.Log(same, "stored")
	if same < 10000 {
		t.Errorf("only %d stored", same)
	}
	l.textCoverage()
}

// textCoverage holds that texts of each type that is made binary were stored.
func (l *binaryLoader) textCoverage() {
	l.s.t.Helper()
	stored := map[uint32]int{}
	for _, tg := range l.targets {
		for k, b := range l.bound[tg] {
			if !b.binary && b.data != nil && tg.cases[k].native == "" && tg.cases[k].ours == "" {
				stored[tg.column.Base]++
			}
		}
	}
	for oid := range textFields {
		if stored[oid] < 2 {
			l.s.t.Errorf("%d texts of type %d stored", stored[oid], oid)
		}
	}
}

// TestBinaryRowsInOtherSessions: no setting changes what our fields mean.
func TestBinaryRowsInOtherSessions(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	s := newSession(t, pg, pg.NewDatabase(t))
	types := strings.Fields("date timestamp timestamptz timestamptz(0) float8 int2 int4 int8 text varchar(3) char(3) bool jsonb json")
	texts := slices.Concat(paramTexts, strings.Split(strings.Join(plainTexts, "\n"), "\n"))
	for i, settings := range []string{
		"SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Kolkata'; SET extra_float_digits = -3",
		"SET DateStyle = 'SQL, MDY'; SET TimeZone = 'America/New_York'; SET client_encoding = LATIN1",
		"SET DateStyle = 'Postgres, YMD'; SET TimeZone = 'Europe/Berlin'; SET client_encoding = UTF8",
	} {
		s.must("DROP TABLE IF EXISTS " + pairs(len(types)))
		s.must(settings)
		l := newBinaryLoader(s, types)
		for _, tg := range l.targets {
			for _, text := range texts {
				l.addRow(tg, bound{data: []byte(text)})
			}
		}
		if same := l.compareRows(); same < 500 {
			t.Errorf("settings %d: only %d stored", i, same)
		}
	}
}
