package handshake

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// upstream runs script for each connection that it gets, and ends with the
// test. The script's connection is closed after it.
func upstream(t testing.TB, script func(s *raw)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			script(newRaw(t, c))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// plainTo is a proxy before a scripted upstream, without TLS.
func plainTo(t *testing.T, script func(s *raw)) (*proxy, *raw) {
	t.Helper()
	p := startProxy(t, Config{Upstream: upstream(t, script), UpstreamTLSMode: SSLDisable})
	return p, dialRaw(t, p.addr)
}

var startup30 = startupPacket(3<<16, "user", "u")

func TestNewestProtocol(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{0xab}, 256)
	sent := startupPacket(3<<16|2, "user", "u", "_pq_.x", "1")
	replies := cat(
		msg('v', code(3<<16|2, 1), []byte("_pq_.x\x00")), msg('N', []byte("SNOTICE\x00C00000\x00Mhello\x00\x00")),
		authenticated, msg('S', []byte("a\x00b\x00")), msg('K', code(77), key), msg('N', []byte{0}), msg('A', code(1), []byte("c\x00p\x00")), ready,
		msg('S', []byte("late\x00x\x00")))
	p, c := plainTo(t, func(s *raw) {
		if got := s.packet(); !bytes.Equal(got, sent) {
			t.Errorf("startup packet %q, want %q", got, sent)
		}
		// The two writes cut a message in the middle.
		s.send(replies[:50])
		s.send(replies[50:])
		s.expectEOF()
	})
	c.send(sent)
	got := make([]byte, len(replies))
	if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, replies) {
		t.Fatalf("%v\ngot  %q\nwant %q", err, got, replies)
	}
	e := p.outcome(t).out.Session
	if e == nil || e.Protocol != 3<<16|2 || e.BackendPID != 77 || !bytes.Equal(e.CancelKey, key) || e.ParameterStatus["a"] != "b" {
		t.Fatalf("%+v", e)
	}
	c.conn.Close()
}

func TestNegotiatedMinorOnly(t *testing.T) {
	t.Parallel()
	p, c := plainTo(t, func(s *raw) {
		s.packet()
		s.send(cat(msg('v', code(0, 0)), authenticated, ready))
		s.expectEOF()
	})
	c.send(startupPacket(3<<16|2, "user", "u"))
	if e := p.outcome(t).out.Session; e == nil || e.Protocol != 3<<16 {
		t.Fatalf("%+v", e)
	}
	c.conn.Close()
}

// TestPipelined: what the client sends ahead is kept, byte for byte, and the
// upstream does not see it before the session does.
func TestPipelined(t *testing.T) {
	t.Parallel()
	password, query := msg('p', []byte("secret\x00")), msg('Q', []byte("SELECT 1\x00"))
	p, c := plainTo(t, func(s *raw) {
		s.packet()
		s.send(auth(3))
		if got := s.message(); !bytes.Equal(got, password) {
			t.Errorf("got %q", got)
		}
		s.send(cat(authenticated, msg('S', []byte("a\x00b\x00"))))
		s.send(ready)
		if got := s.message(); !bytes.Equal(got, query) {
			t.Errorf("got %q", got)
		}
		s.send(msg('I'))
	})
	c.send(cat(startup30, password, query))
	for _, typ := range []byte("RRSZI") {
		c.expect(typ)
	}
	if e := p.outcome(t).out.Session; e == nil || !bytes.Equal(e.ClientBuffered, query) {
		t.Fatalf("%+v", e)
	}
	c.expectEOF()
}

// TestGSS: the last token of the server needs no answer.
func TestGSS(t *testing.T) {
	t.Parallel()
	p, c := plainTo(t, func(s *raw) {
		s.packet()
		s.send(auth(7))
		s.expect('p')
		s.send(auth(8, []byte("token")...))
		s.expect('p')
		s.send(cat(auth(8, []byte("last")...), authenticated, ready))
		s.expect('Q')
		s.send(msg('I'))
		s.expectEOF()
	})
	c.send(startup30)
	c.expect('R')
	c.send(msg('p', []byte("one")))
	c.expect('R')
	c.send(msg('p', []byte("two")))
	c.expect('R')
	c.expect('R')
	c.expect('Z')
	c.send(msg('Q', []byte("\x00")))
	if e := p.outcome(t); e.out.Session == nil {
		t.Errorf("%+v", e)
	}
	c.expect('I')
	c.conn.Close()
}

// TestRelayedAnswers: the client's messages go through untouched, also those
// that are no answer and those of the longest kind.
func TestRelayedAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string][]byte{
		"empty": msg('p'), "query": msg('Q', []byte("x\x00")), "terminate": msg('X'),
		"longest":   msg('p', make([]byte, maxAnswer-4)),
		"malformed": msg('p', []byte("SCRAM-SHA-256\x00\xff\xff\xff\xfe")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := plainTo(t, func(s *raw) {
				s.packet()
				s.send(auth(authSASL, []byte("SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00")...))
				if got := s.message(); !bytes.Equal(got, answer) {
					t.Errorf("got %.40q of %d bytes", got, len(got))
				}
				s.send(msg('E', []byte("SFATAL\x00VFATAL\x00C28P01\x00Mno\x00\x00")))
			})
			c.send(startup30)
			if got := c.expect('R'); string(got[4:]) != "SCRAM-SHA-256\x00\x00" {
				t.Errorf("mechanisms %q", got)
			}
			c.send(answer)
			c.expectError("28P01", "no")
			c.expectEOF()
		})
	}
}
