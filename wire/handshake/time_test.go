package handshake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// TestSilence: a client that says nothing, or half of something, goes without a
// word; one that does not answer a request is told. The clock is synthetic.
func TestSilence(t *testing.T) {
	t.Parallel()
	for name, sends := range map[string][]byte{
		"nothing": nil, "half a length": {0, 0}, "half a packet": startup30[:10], "hello only": sslRequest(), "half a hello": {tlsHandshakeRecord, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, err := New(Config{Upstream: "127.0.0.1:1", ClientTLS: newCertificate(t).server()})
				if err != nil {
					t.Fatal(err)
				}
				client, server := net.Pipe()
				go func() {
					if len(sends) > 0 {
						_, _ = client.Write(sends)
					}
					_, _ = io.Copy(io.Discard, client)
				}()
				start := time.Now()
				out, err := h.Accept(context.Background(), server)
				if took := time.Since(start); took != 60*time.Second || out != (Outcome{}) || !isTimeout(err) {
					t.Errorf("%v after %v", err, took)
				}
				client.Close()
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sends         []byte
		code, message string
	}{
		"client does not answer":       {auth(3), "57014", "canceling authentication due to timeout"},
		"upstream does not ask":        {nil, "08006", "upstream did not answer: timed out"},
		"upstream does not go on":      {auth(authSASLFinal), "08006", "upstream did not answer: timed out"},
		"upstream stops in a message":  {[]byte("R\x00"), "08006", "upstream did not answer: timed out"},
		"upstream stops after version": {msg('v', code(3<<16, 0)), "08006", "upstream did not answer: timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				b := newBench(t, Config{})
				got := b.play(b.client, startup30, false)
				b.play(b.server, c.sends, false)
				if e := b.end(t); e.err == nil || time.Since(start) != benchTimeout {
					t.Errorf("%+v after %v", e, time.Since(start))
				}
				_, last, ok := bytes.Cut(got.Bytes(), []byte("SFATAL\x00"))
				if e := pgerr.Parse(last); !ok || e.Code() != c.code || e.Get('M') != c.message {
					t.Errorf("%q", got)
				}
			})
		})
	}
}

// TestNoLimitAfterAuthentication: a backend may wait as long as it likes.
func TestNoLimitAfterAuthentication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		b.play(b.client, startup30, false)
		b.play(b.server, authenticated, false)
		<-time.After(time.Hour)
		b.play(b.server, ready, false)
		if e := b.end(t); e.out.Session == nil {
			t.Error(e.err)
		}
	})
}

// TestShutdown: the end of the context is told to a client that has said what
// it is, and the upstream is left.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for name, sends := range map[string][]byte{"asked": auth(3), "silent": nil, "authenticated": authenticated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{})
			h, err := New(Config{UpstreamTLSMode: SSLDisable, Upstream: upstream(t, func(s *raw) {
				s.packet()
				s.send(sends)
				close(asked)
				s.expectEOF()
			})})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			client, server := net.Pipe()
			defer client.Close()
			done := make(chan error)
			go func() {
				_, err := h.Accept(ctx, server)
				done <- err
			}()
			c := newRaw(t, client)
			c.send(startup30)
			if sends != nil {
				c.expect('R')
			}
			<-asked
			cancel()
			c.expectError("57P01", "terminating connection due to administrator command")
			c.expectEOF()
			if err := <-done; !errors.Is(err, context.Canceled) && pgerr.As(err).Code() != "57P01" {
				t.Error(err)
			}
		})
	}
}

// TestProbe: a health check that connects and leaves is no error.
func TestProbe(t *testing.T) {
	t.Parallel()
	p := startProxy(t, Config{Upstream: "127.0.0.1:1"})
	c := dialRaw(t, p.addr)
	c.conn.Close()
	if e := p.outcome(t); e.err != nil || e.out != (Outcome{}) {
		t.Errorf("%+v", e)
	}
}
