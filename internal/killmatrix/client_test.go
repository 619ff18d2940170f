package killmatrix

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// client loads numbered rows, one transaction after the other, and remembers
// what it was told.
type client struct {
	b     *bed
	door  *relay
	rng   *rand.Rand
	conn  *pgconn.PgConn
	units []*unit
	// session is the first unit of the connection.
	session int
	ended   atomic.Int64 // units
	most    int64        // units that it runs; 0: as many as it can
	// complaints are answers that the client should not have got.
	complaints []string
}

// load is one statement with rows.
type load struct {
	id   int64
	rows int
	// undone: no row of it may ever be there.
	undone bool
}

// unit is one transaction.
type unit struct {
	what  string
	loads []*load
	fate  fate
	log   []string // the answers, for a failure
}

// fate is what the client knows of a transaction.
type fate string

const (
	committed fate = "committed"
	aborted   fate = "aborted"
	unknown   fate = "unknown" // the connection ended while it was being committed
)

// errLost: the connection ended.
var errLost = errors.New("the connection is lost")

// run works until told to stop, and ends the transaction that it is in.
func (c *client) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			c.hangUp()
			return
		default:
		}
		if c.most > 0 && c.ended.Load() == c.most {
			<-stop
			continue
		}
		if c.conn == nil && !c.connect(stop) {
			continue
		}
		u := &unit{fate: aborted}
		c.units = append(c.units, u)
		if c.unit(u) != nil {
			c.hangUp()
		}
		c.ended.Add(1)
	}
}

func (c *client) hangUp() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.conn.Close(ctx) // most are lost
	c.conn = nil
}

// connect tries once, and waits a little where that fails.
func (c *client) connect(stop <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, by(c.b.pg, c.b.db, c.door.addr)+fmt.Sprintf(" options='-c pgbulk.ack=%s'", c.b.ack))
	if err == nil {
		c.conn, c.session = conn, len(c.units)
		return true
	}
	select {
	case <-time.After(20 * time.Millisecond):
	case <-stop:
	}
	return false
}

// unit runs one transaction; an error means that the connection is gone.
func (c *client) unit(u *unit) error {
	if c.b.gate.parts {
		return c.single(u, c.copyRows) // they are large
	}
	switch c.rng.IntN(10) {
	case 0, 1, 2, 3:
		return c.single(u, c.copyRows)
	case 4, 5:
		return c.single(u, c.insertRows)
	case 6:
		u.what = "transaction"
		return c.block(u, func() error { return c.some(u) }, "COMMIT")
	case 7:
		u.what = "rolled back"
		return c.block(u, func() error { return c.some(u) }, "ROLLBACK")
	case 8:
		u.what = "savepoint"
		return c.block(u, func() error { return c.savepoint(u) }, "COMMIT")
	}
	if c.b.ack == staged {
		u.what = "flush"
		return c.flush(u)
	}
	u.what = "bad data"
	return lost(c.refused(u))
}

// single is a statement outside a transaction block.
func (c *client) single(u *unit, run func(*unit, *load) (bool, error)) error {
	u.what = "single"
	l := c.load(u)
	sent, err := run(u, l)
	switch {
	case err == nil:
		u.fate = committed
	case !errors.Is(err, errLost):
		c.complain(u, err)
		return nil
	case sent:
		u.fate = unknown
	}
	return err
}

// block is a transaction block.
func (c *client) block(u *unit, body func() error, end string) error {
	if err := c.exec(u, "BEGIN", "BEGIN"); err != nil {
		return err
	}
	if err := body(); err != nil {
		if errors.Is(err, errLost) {
			return err
		}
		c.complain(u, err)
		end = "ROLLBACK"
	}
	err := c.exec(u, end, end)
	switch {
	case end != "COMMIT":
		return lost(err)
	case err == nil:
		u.fate = committed
	case errors.Is(err, errLost):
		u.fate = unknown
	default:
		c.complain(u, err)
	}
	return lost(err)
}

// lost returns err if it ends the connection.
func lost(err error) error {
	if errors.Is(err, errLost) {
		return err
	}
	return nil
}

// some loads a few times.
func (c *client) some(u *unit) error {
	for range 1 + c.rng.IntN(3) {
		run := c.copyRows
		if c.rng.IntN(4) == 0 {
			run = c.insertRows
		}
		if _, err := run(u, c.load(u)); err != nil {
			return err
		}
	}
	return nil
}

// savepoint loads before, behind and after a savepoint that is rolled back.
func (c *client) savepoint(u *unit) error {
	if _, err := c.copyRows(u, c.load(u)); err != nil {
		return err
	}
	if err := c.exec(u, "SAVEPOINT s", "SAVEPOINT"); err != nil {
		return err
	}
	l := c.load(u)
	l.undone = true
	if _, err := c.copyRows(u, l); err != nil {
		return err
	}
	if c.b.ack == loaded && c.rng.IntN(2) == 0 {
		if err := c.refused(u); err != nil {
			return err
		}
	}
	if err := c.exec(u, "ROLLBACK TO s", "ROLLBACK"); err != nil {
		return err
	}
	_, err := c.copyRows(u, c.load(u))
	return err
}

// flush waits for what this session has staged, and looks whether it has come.
func (c *client) flush(u *unit) error {
	if err := c.exec(u, "SELECT pgbulk.flush()", "SELECT 1"); err != nil {
		if !errors.Is(err, errLost) {
			c.complain(u, err)
		}
		return lost(err)
	}
	for _, mine := range c.units[c.session : len(c.units)-1] {
		for _, l := range mine.loads {
			if mine.fate != committed || l.undone {
				continue
			}
			if err := c.exec(u, fmt.Sprintf("SELECT 1 FROM (SELECT load FROM t UNION ALL SELECT load FROM u) x WHERE load = %d", l.id), fmt.Sprintf("SELECT %d", l.rows)); err != nil {
				if !errors.Is(err, errLost) {
					c.complain(u, err)
				}
				return lost(err)
			}
		}
	}
	c.session = len(c.units) - 1 // what has come need not be looked at again
	return nil
}

// refused loads rows of which the last is bad, and demands the error.
func (c *client) refused(u *unit) error {
	l := c.load(u)
	l.undone = true
	rows := textRows(l)
	_, err := c.copyIn(u, l, "COPY t (load, n, pad) FROM STDIN", append(rows, "seven\t1\tx\n"...))
	var e *pgconn.PgError
	switch {
	case errors.Is(err, errLost):
		return err
	case !errors.As(err, &e) || e.Code != "22P02" || !strings.Contains(e.Where, fmt.Sprintf("line %d", l.rows+1)):
		return fmt.Errorf("a bad row gave %w", cmp.Or(err, errors.New("no error")))
	}
	return nil
}

// load makes the next one. No two of a round have the same number of rows, so
// that each can be told in the ledger; those of COPYs are even.
func (c *client) load(u *unit) *load {
	id := c.b.loads.Add(1)
	l := &load{id: id, rows: c.b.rows + 2*int(id*761%751)}
	u.loads = append(u.loads, l)
	return l
}

func (c *client) complain(u *unit, err error) {
	var e *pgconn.PgError
	if errors.As(err, &e) && c.b.ack == staged && (e.Code == "58000" || e.Code == "40001") {
		// What is not durable can't be acknowledged, and its rows are gone; a load
		// whose proxy seemed lost was given up.
		return
	}
	if e != nil && slices.Contains(c.b.kind.ends, e.Code) {
		return
	}
	c.complaints = append(c.complaints, fmt.Sprintf("%s: %v\n\t%s", u.what, err, strings.Join(u.log, "\n\t")))
}

// pad makes rows long enough for several files, and tells one that is damaged.
const pad = "-a row that is long enough to fill files"

func textRows(l *load) []byte {
	var b bytes.Buffer
	for n := range l.rows {
		fmt.Fprintf(&b, "%d\t%d\t%d%s\n", l.id, n, n, pad)
	}
	return b.Bytes()
}

// copyRows loads by one of the kinds of COPY. It says whether all data was sent.
func (c *client) copyRows(u *unit, l *load) (bool, error) {
	table := "t"
	if c.rng.IntN(5) == 0 {
		table = "u"
	}
	data, with := textRows(l), ""
	if c.rng.IntN(3) == 0 {
		data, with = bytes.ReplaceAll(data, []byte("\t"), []byte(",")), " WITH (FORMAT csv)"
	}
	return c.copyIn(u, l, "COPY "+table+" (load, n, pad) FROM STDIN"+with, data)
}

// ending notes that it was read to its end, which the driver does on a goroutine
// that may outlive the COPY.
type ending struct {
	io.Reader
	ended atomic.Bool
}

// Read implements io.Reader.
func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p[:min(len(p), 32<<10)])
	if err == io.EOF {
		e.ended.Store(true)
	}
	return n, err
}

func (c *client) copyIn(u *unit, l *load, sql string, data []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in := &ending{Reader: bytes.NewReader(data)}
	tag, err := c.conn.CopyFrom(ctx, in, sql)
	return in.ended.Load(), c.answer(u, fmt.Sprintf("%s of load %d", sql, l.id), fmt.Sprintf("COPY %d", l.rows), tag.String(), err)
}

func (c *client) insertRows(u *unit, l *load) (bool, error) {
	l.rows = 3 + 2*int(l.id*761%499) // fewer
	var b strings.Builder
	b.WriteString("INSERT INTO t (load, n, pad) VALUES ")
	for n := range l.rows {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "(%d,%d,'%d%s')", l.id, n, n, pad)
	}
	return true, c.exec(u, b.String(), fmt.Sprintf("INSERT 0 %d", l.rows))
}

func (c *client) exec(u *unit, sql, want string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tag := ""
	results, err := c.conn.Exec(ctx, sql).ReadAll()
	if len(results) > 0 {
		tag = results[0].CommandTag.String()
	}
	return c.answer(u, sql[:min(len(sql), 40)], want, tag, err)
}

// answer judges what came of a statement: nil, errLost, or an error that the
// client should not have got.
func (c *client) answer(u *unit, what, want, tag string, err error) error {
	u.log = append(u.log, fmt.Sprintf("%s %s → %q %v", time.Now().Format("05.000"), what, tag, err))
	var e *pgconn.PgError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		c.complaints = append(c.complaints, fmt.Sprintf("no answer to %s in %s", what, patience))
		return errLost
	case errors.As(err, &e) && e.Severity != "FATAL" && !strings.HasPrefix(e.Code, "08"):
		return err
	case err != nil:
		return errLost
	case tag != want:
		return fmt.Errorf("%s is answered %q", what, tag)
	}
	return nil
}
