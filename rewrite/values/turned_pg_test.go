package values

import (
	"errors"
	"strconv"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
)

// turnSettings asks for what a session's rows are turned by.
func turnSettings(s *session) transcode.Settings {
	s.t.Helper()
	row := s.must(`SELECT current_setting('server_version_num'), current_setting('client_encoding'), current_setting('server_encoding'),
		current_setting('TimeZone'), current_setting('IntervalStyle'), current_setting('array_nulls')`)[0]
	version, err := strconv.Atoi(row[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return transcode.Settings{Version: version, ClientEncoding: row[1], ServerEncoding: row[2], TimeZone: row[3], IntervalStyle: row[4], ArrayNulls: row[5] == "on"}
}

// addTurned adds a cell that has a binary form, as the proxy makes it: the text
// that the column's input function would get is turned as a COPY's is. It says
// whether there is one.
func (tg *target) addTurned(turns *transcode.Transcoder, cell Cell) bool {
	texts, err := tg.encoder.Texts([]Cell{cell})
	if line, other := tg.encoder.AppendRow(nil, []Cell{cell}); !errors.Is(err, other) {
		panic(err)
	} else if err != nil || len(line) == 0 {
		return false
	}
	row, err := turns.AppendRow(nil, texts)
	if err != nil {
		return false
	}
	tg.cases = append(tg.cases, testCase{cell: cell, sql: literal(cell), copied: string(row[2:])})
	return true
}

// TestTurnedAsNative puts every constant that can be turned into every type,
// natively and by COPY in binary, under several settings.
func TestTurnedAsNative(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	types := typingDatabase(t, s)
	for i, settings := range []string{
		"SET TimeZone = 'UTC'",
		"SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'German, DMY'; SET IntervalStyle = sql_standard; SET array_nulls = off; SET extra_float_digits = -3",
	} {
		s.must("DROP TABLE IF EXISTS " + pairs(len(types)))
		s.must(settings)
		read, turned := turnSettings(s), 0
		targets := newTargets(s, types)
		for _, tg := range targets {
			turns, err := transcode.New([]transcode.Column{{Base: tg.column.Base, Typmod: tg.column.Typmod}}, transcode.Format{}, read)
			if err != nil {
				continue
			}
			for _, cell := range constants() {
				if tg.addTurned(turns, cell) {
					turned++
				}
			}
		}
		load(s, targets, byBinaryCopy)
		same := compare(s, targets)
		t.Log(turned, "turned,", same, "stored")
		if same < 2000 {
			t.Errorf("settings %d: %d turned, only %d stored", i, turned, same)
		}
		for _, tg := range targets {
			for _, c := range tg.cases {
				if c.native == "" && c.ours != "" {
					t.Errorf("%s into %s: natively stored, as %x %s", c.sql, tg.typ, c.copied, c.ours)
				}
			}
		}
	}
}
