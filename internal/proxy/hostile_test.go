package proxy

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// neighbour runs small statements on a session of its own until the test calls
// the function it returns, which fails the test if one took too long.
func (b *bed) neighbour() (done func()) {
	c := b.proxied()
	ctx, stop := context.WithCancel(context.Background())
	slowest := make(chan time.Duration, 1)
	go func() {
		var worst time.Duration
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := c.Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
				b.t.Error("neighbour: ", err)
				break
			}
			worst = max(worst, time.Since(began))
		}
		slowest <- worst
	}()
	return func() {
		stop()
		// A busy machine delays anything; a proxy that waits for one client
		// in another's session would take for ever.
		if worst := <-slowest; worst > patience {
			b.t.Errorf("another session waited %s", worst)
		}
	}
}

// TestFloodAfterError: CopyData that comes after the error is dropped, as long
// as it comes.
func TestFloodAfterError(t *testing.T) {
	t.Parallel()
	for _, bad := range []int{0, 3000} {
		b := newBed(t, Options{}, nil)
		must(t, b.direct(), createT)
		done := b.neighbour()
		r := raw(t, b.proxied())
		r.startCopy(copyText)
		r.data(textRows(bad))
		r.data([]byte("bad\n"))
		flood := copyData(bytes.Repeat([]byte("after the error\n"), 64<<10)) // 1 MiB
		for range 64 {
			r.send(flood)
		}
		r.send([]byte{'c', 0, 0, 0, 4})
		if _, e, err := r.until(isReady); err != nil || e == nil || e.Code != "22P02" && e.Code != "22P04" {
			t.Errorf("%+v %v", e, err)
		}
		r.query("SELECT 1")
		if _, _, err := r.until(isReady); err != nil {
			t.Error(err)
		}
		done()
		b.wantSwept()
	}
}

// TestFloodExtended is the same in the extended protocol, where everything up
// to the Sync is skipped.
func TestFloodExtended(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createT)
	done := b.neighbour()
	r := raw(t, b.proxied())
	for _, m := range []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: copyText}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{},
	} {
		p, err := m.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		r.send(p)
	}
	r.data([]byte("bad\n"))
	flood := copyData(bytes.Repeat([]byte("after the error\n"), 64<<10))
	for range 64 {
		r.send(flood)
	}
	r.send([]byte{'c', 0, 0, 0, 4, 'S', 0, 0, 0, 4})
	if _, e, err := r.until(isReady); err != nil || e == nil {
		t.Errorf("%+v %v", e, err)
	}
	r.query("SELECT 1")
	if _, _, err := r.until(isReady); err != nil {
		t.Error(err)
	}
	done()
	b.wantSwept()
}

// TestClientStopsReading: a client that asks for much and reads nothing holds up
// itself alone; so does one that is sent notices during its COPY.
func TestClientStopsReading(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createT+`; CREATE TABLE n (id int);
		CREATE FUNCTION talk() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN RAISE NOTICE '%', repeat('notice ', 1000); RETURN NEW; END$$;
		CREATE TRIGGER talk BEFORE INSERT ON n FOR EACH ROW EXECUTE FUNCTION talk()`)
	done := b.neighbour()
	deaf := raw(t, b.proxied())
	deaf.query("SELECT repeat('x', 1000000) FROM generate_series(1, 100)")
	talked := raw(t, b.proxied())
	talked.query("COPY n FROM STDIN")
	_ = talked.SetWriteDeadline(time.Now().Add(2 * time.Second))
	_, _ = talked.Write(copyData(bytes.Repeat([]byte("1\n"), 100_000))) // stalls when the notices have filled all buffers
	b.same(copyText, textRows(5000))
	done()
	deaf.reset()
	talked.reset()
	b.wantUnlocked("5000", patience)
	b.wantSwept()
}

// TestGarbage: whatever a client sends in the middle of a COPY, the answer is
// the server's and nobody else is harmed.
func TestGarbage(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	admin := b.direct()
	must(t, admin, createT)
	done := b.neighbour()
	random := make([]byte, 100<<10)
	src := rand.NewChaCha8([32]byte{7})
	_, _ = src.Read(random)
	huge := frame.AppendHead(nil, 'd', frame.MaxBody)
	cases := map[string][]byte{
		"random":        random,
		"zeros":         make([]byte, 4096),
		"huge data":     append(huge, "1\ta\n"...),
		"negative":      {'d', 0xff, 0xff, 0xff, 0xff},
		"short":         {'d', 0, 0, 0, 3},
		"query":         frame.AppendString(nil, 'Q', "SELECT 1"),
		"long query":    frame.AppendString(nil, 'Q', string(bytes.Repeat([]byte("SELECT 1;"), 300_000))),
		"long fail":     frame.AppendString(nil, 'f', string(bytes.Repeat([]byte("no "), 5_000))),
		"longer fail":   frame.AppendString(nil, 'f', string(bytes.Repeat([]byte("no "), 500_000))),
		"unended fail":  {'f', 0, 0, 0, 6, 'n', 'o'},
		"done with job": {'c', 0, 0, 0, 8, 1, 2, 3, 4},
		"startup":       {0, 0, 0, 8, 4, 210, 22, 47},
		"terminate":     {'X', 0, 0, 0, 4},
	}
	for name, garbage := range cases {
		t.Run(name, func(t *testing.T) {
			var said [2]string
			for i, way := range []func() *rawConn{func() *rawConn { return raw(t, b.direct()) }, func() *rawConn { return raw(t, b.proxied()) }} {
				must(t, admin, "TRUNCATE t")
				r := way()
				r.startCopy(copyText)
				r.data(textRows(3000))
				r.send(garbage)
				if w, ok := r.Conn.(interface{ CloseWrite() error }); ok {
					_ = w.CloseWrite()
				}
				for {
					m, _, err := r.until(func(pgproto3.BackendMessage) bool { return true })
					if err != nil {
						break
					}
					if e, ok := m.(*pgproto3.ErrorResponse); ok {
						said[i] += e.Severity + " " + e.Code + " " + e.Message + " | " + e.Where + "\n"
						continue
					}
					p, err := m.Encode(nil)
					if err != nil {
						t.Fatal(err)
					}
					said[i] += string(p[:1]) + "\n"
				}
				_ = r.Close()
			}
			// A client that is gone may be told less: what ended a statement of
			// ours is nobody's, and of what ends the session the last words are left.
			gone := strings.HasPrefix(said[0], "ERROR 08006") && strings.HasSuffix(said[0], said[1])
			if said[0] != said[1] && !gone {
				t.Errorf("the server says\n%sthe proxy says\n%s", said[0], said[1])
			}
		})
	}
	done()
	b.wantSwept()
}
