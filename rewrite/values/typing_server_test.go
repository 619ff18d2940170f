package values

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// session is a connection on which statements and COPYs go out without waiting
// for the ones before.
type session struct {
	t    testing.TB
	conn net.Conn
	in   *pgproto3.Frontend
}

// command is one simple query, with the data of its COPY.
type command struct{ sql, data string }

// ownSession is one on a new database.
func ownSession(t testing.TB) *session {
	t.Helper()
	pg := testenv.Postgres(t)
	return newSession(t, pg, pg.NewDatabase(t))
}

func newSession(t testing.TB, pg *testenv.PG, db string) *session {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), pg.DSN(db, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	hijacked, err := conn.PgConn().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hijacked.Conn.Close() })
	s := &session{t: t, conn: hijacked.Conn, in: hijacked.Frontend}
	s.must("SET synchronous_commit = off; SET log_min_messages = panic; SET lc_monetary = 'C'")
	return s
}

// run returns the SQLSTATE of each command, empty where it succeeded, and all
// rows.
func (s *session) run(commands []command) (states []string, rows [][]string) {
	s.t.Helper()
	states = s.converse(len(commands), func(buf []byte, i int) []byte {
		c := commands[i]
		buf = must((&pgproto3.Query{String: c.sql}).Encode(buf))
		if strings.HasPrefix(c.sql, "COPY") {
			// The server skips both behind a COPY that has failed.
			buf = must((&pgproto3.CopyData{Data: []byte(c.data)}).Encode(buf))
			buf = must((&pgproto3.CopyDone{}).Encode(buf))
		}
		return buf
	}, func(_ int, message pgproto3.BackendMessage) {
		m, ok := message.(*pgproto3.DataRow)
		if !ok {
			return
		}
		row := make([]string, len(m.Values))
		for j, v := range m.Values {
			if row[j] = "NULL"; v != nil {
				row[j] = string(v)
			}
		}
		rows = append(rows, row)
	})
	return states, rows
}

// converse sends n requests, none of which waits for the ones before, and hands
// on every reply with its request's number. It returns the SQLSTATE and message
// of each request that failed. One goroutine writes, and has ended on return.
func (s *session) converse(n int, encode func(buf []byte, i int) []byte, got func(i int, message pgproto3.BackendMessage)) []string {
	s.t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- s.send(n, encode) }()
	states := make([]string, n)
	for i := 0; i < n; {
		message, err := s.in.Receive()
		if err != nil {
			s.t.Fatal(err)
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			states[i] = m.Code + " " + m.Message
		case *pgproto3.ReadyForQuery:
			i++
		default:
			got(i, m)
		}
	}
	if err := <-sent; err != nil {
		s.t.Fatal(err)
	}
	return states
}

func (s *session) send(n int, encode func(buf []byte, i int) []byte) error {
	var buf []byte
	for i := range n {
		buf = encode(buf, i)
		if len(buf) > 1<<16 || i == n-1 {
			if _, err := s.conn.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// must runs statements that have to succeed and returns their rows.
func (s *session) must(sql string) [][]string {
	s.t.Helper()
	states, rows := s.run([]command{{sql: sql}})
	if states[0] != "" {
		s.t.Fatalf("%s: %s", sql, states[0])
	}
	return rows
}

// target is a pair of tables of one column v each, one for either way.
type target struct {
	id      int
	typ     string
	column  Column
	encoder *Encoder
	cases   []testCase
}

// testCase is a constant, what SQL writes for it, and what became of it.
type testCase struct {
	cell         Cell
	sql          string
	copied       string
	pass         error
	native, ours string // SQLSTATE and message
}

// newTargets makes tables for the types. One that no column can have is left
// out.
func newTargets(s *session, types []string) []*target {
	s.t.Helper()
	var create, ask []command
	for i, typ := range types {
		create = append(create, command{sql: fmt.Sprintf("CREATE TABLE n%d (k int, v %s); CREATE TABLE c%d (k int, v %s)", i, typ, i, typ)})
	}
	states, _ := s.run(create)
	var targets []*target
	for i, typ := range types {
		if states[i] == "" {
			targets = append(targets, &target{id: i, typ: typ})
			ask = append(ask, command{sql: fmt.Sprintf("SELECT %s FROM pg_attribute a WHERE attrelid = 'c%d'::regclass AND attname = 'v'", ColumnSQL, i)})
		}
	}
	_, rows := s.run(ask)
	for i, tg := range targets {
		if err := json.Unmarshal([]byte(rows[i][0]), &tg.column); err != nil {
			s.t.Fatal(tg.typ, err)
		}
		tg.encoder = NewEncoder([]Column{tg.column})
	}
	return targets
}

// literal writes a cell as SQL does.
func literal(c Cell) string {
	text := map[Kind]string{Null: "NULL", True: "TRUE", False: "FALSE"}[c.Kind]
	switch c.Kind {
	case String:
		text = pgident.Literal(string(c.Text))
	case Integer, Decimal:
		text = string(c.Text)
	}
	if c.Cast != nil {
		return "CAST(" + text + " AS " + string(c.Cast) + ")"
	}
	return text
}

// add encodes a cell. With onlyTaken a refused one is not tried natively.
func (tg *target) add(cell Cell, onlyTaken bool) {
	c := testCase{cell: cell, sql: literal(cell)}
	line, err := tg.encoder.AppendRow(nil, []Cell{cell})
	if err != nil && onlyTaken {
		return
	}
	c.copied, c.pass = string(line), err
	tg.cases = append(tg.cases, c)
}

// byCopy is the way of an Encoder's line.
func byCopy(tg *target, k int, c *testCase) command {
	return command{sql: fmt.Sprintf("COPY c%d FROM STDIN", tg.id), data: fmt.Sprintf("%d\t%s", k, c.copied)}
}

// byArray is the way of an array constant.
func byArray(tg *target, k int, c *testCase) command {
	element := strings.TrimSuffix(c.copied, "\n")
	switch c.cell.Kind {
	case Null:
		element = "NULL"
	case String:
		element = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(c.cell.Text)) + `"`
	}
	return command{sql: fmt.Sprintf("INSERT INTO c%d SELECT %d, u FROM pg_catalog.unnest(%s::%s) u", tg.id, k, pgident.Literal("{"+element+"}"), tg.column.ArrayType())}
}

// load runs all cases both ways.
func load(s *session, targets []*target, ours func(*target, int, *testCase) command) {
	s.t.Helper()
	var commands []command
	var results []*string
	for _, tg := range targets {
		for k := range tg.cases {
			c := &tg.cases[k]
			commands = append(commands, command{sql: fmt.Sprintf("INSERT INTO n%d VALUES (%d, %s)", tg.id, k, c.sql)})
			results = append(results, &c.native)
			if c.pass == nil {
				commands = append(commands, ours(tg, k, c))
				results = append(results, &c.ours)
			}
		}
	}
	states, _ := s.run(commands)
	for i, r := range results {
		*r = states[i]
	}
}

// compare reports every case that the server stored otherwise, or at all, than
// the native INSERT. It returns how many were stored by both.
func compare(s *session, targets []*target) (same int) {
	s.t.Helper()
	for _, tg := range targets {
		for i := range tg.cases {
			if c := &tg.cases[i]; c.pass == nil && c.ours == "" {
				if same++; c.native != "" {
					s.t.Errorf("%s into %s: stored, natively %s", c.sql, tg.typ, c.native)
				}
			}
		}
		// record_image_ne compares the bytes that are stored.
		for _, row := range s.must(fmt.Sprintf(`SELECT n.k, to_json(n.v), to_json(c.v) FROM n%d n JOIN c%d c USING (k) WHERE record_image_ne(ROW(n.v), ROW(c.v)) ORDER BY 1`, tg.id, tg.id)) {
			var k int
			fmt.Sscan(row[0], &k)
			s.t.Errorf("%s into %s (COPY %q): %s, natively %s", tg.cases[k].sql, tg.typ, tg.cases[k].copied, row[2], row[1])
		}
	}
	return same
}
