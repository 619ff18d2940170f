package handshake

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

const benchTimeout = 5 * time.Second

// bench is a Handshaker whose two sides are pipes.
type bench struct {
	client, server net.Conn // the far ends
	done           chan ended
	wg             sync.WaitGroup
}

func newBench(t testing.TB, cfg Config) *bench {
	t.Helper()
	cfg.Upstream, cfg.UpstreamTLSMode, cfg.StartupTimeout = "db", SSLDisable, benchTimeout
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, nearClient := net.Pipe()
	server, nearServer := net.Pipe()
	h.dial = func(context.Context, string, string) (net.Conn, error) { return nearServer, nil }
	b := &bench{client: client, server: server, done: make(chan ended, 1)}
	go func() {
		out, err := h.Accept(context.Background(), nearClient)
		if out.Session != nil {
			out.Session.Client.Close()
			out.Session.Server.Close()
		}
		nearClient.Close()
		nearServer.Close()
		b.done <- ended{out, err}
	}()
	return b
}

// play writes bytes to one end and returns all that comes back from it.
func (b *bench) play(c net.Conn, sends []byte, thenClose bool) *bytes.Buffer {
	var got bytes.Buffer
	b.wg.Go(func() {
		_, _ = c.Write(sends)
		if thenClose {
			c.Close()
		}
	})
	b.wg.Go(func() { _, _ = io.Copy(&got, c) })
	return &got
}

// end waits for everything: nothing may hang.
func (b *bench) end(t testing.TB) ended {
	t.Helper()
	e := <-b.done
	b.client.Close()
	b.server.Close()
	b.wg.Wait()
	return e
}

// FuzzStartup: any bytes of a client end in time and in no panic, and what goes
// upstream is a startup packet of protocol 3 as it was received.
func FuzzStartup(f *testing.F) {
	packet := startupPacket(3<<16|2, "user", "u", "_pq_.x", "1")
	for _, seed := range [][]byte{
		nil, packet, cat(sslRequest(), packet), cat(gssRequest(), packet), sslRequest(), {tlsHandshakeRecord, 3, 1, 0, 5},
		cat(packet, msg('p', []byte("x\x00")), msg('Q', []byte("\x00"))), cat(packet, msg('p', []byte("SCRAM-SHA-256\x00\x00\x00\x00\x01y"))),
		code(16, codeCancel, 1, 2), code(8, 2<<16), code(1<<31, 3<<16), code(9, 3<<16), []byte("GET / HTTP/1.0\r\n\r\n"),
	} {
		f.Add(seed)
	}
	cert := newCertificate(f)
	f.Fuzz(func(t *testing.T, sends []byte) {
		b := newBench(t, Config{ClientTLS: cert.server()})
		b.play(b.client, sends, true)
		asks := cat(auth(authSASL, []byte("SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00")...), auth(11), authenticated)
		upstream := b.play(b.server, asks, false)
		e := b.end(t)
		if e.out.Session != nil {
			t.Fatal("a session without ReadyForQuery")
		}
		if got := upstream.Bytes(); len(got) > 0 && !bytes.Contains(sends, got[:min(len(got), 8)]) {
			t.Fatalf("upstream got %q of %q", got, sends)
		}
	})
}

// FuzzServer: any bytes of an upstream end in time and in no panic; what the
// client reads is what the upstream sent, to the byte, and at most one error of
// our own after it.
func FuzzServer(f *testing.F) {
	for _, seed := range [][]byte{
		nil, cat(authenticated, ready), cat(auth(3), authenticated, msg('S', []byte("a\x00b\x00")), msg('K', code(1, 2)), ready, msg('A')),
		cat(auth(authSASL, []byte("SCRAM-SHA-256\x00\x00")...), auth(11, []byte("r=")...), auth(12), authenticated, ready),
		auth(authSASL, []byte("SCRAM-SHA-256-PLUS\x00\x00")...), cat(msg('v', code(3<<16, 1), []byte("_pq_.x\x00")), authenticated, ready),
		msg('E', []byte("SFATAL\x00Mno code\x00\x00")), msg('E'), append([]byte{'R'}, code(1<<31)...), append([]byte{'R'}, code(1<<30)...),
		cat(auth(8), auth(8), authenticated, ready), cat(auth(99), authenticated, ready), []byte("Eold style\n\x00"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sends []byte) {
		b := newBench(t, Config{})
		client := b.play(b.client, cat(startup30, msg('p', []byte("x\x00")), msg('p', []byte("y\x00"))), false)
		b.play(b.server, sends, true)
		e := b.end(t)
		got := client.Bytes()
		if bytes.Contains(sends, []byte("-PLUS\x00")) {
			return // the one message that is changed
		}
		if e.out.Session != nil {
			if used := len(got) + len(e.out.Session.ServerBuffered); !bytes.HasPrefix(sends, got) || used > len(sends) {
				t.Fatalf("client got %q of %q", got, sends)
			}
			return
		}
		if own := pgerr.As(e.err); own != nil {
			got = bytes.TrimSuffix(got, msg('E', own.AppendBody(nil)))
		}
		if !bytes.HasPrefix(sends, got) {
			t.Fatalf("client got %q of %q", got, sends)
		}
	})
}

// BenchmarkAccept is the cost of a handshake without network and TLS.
func BenchmarkAccept(b *testing.B) {
	replies := cat(auth(3), authenticated, msg('S', []byte("server_version\x0015\x00")), msg('K', code(1, 2)), ready)
	b.ReportAllocs()
	for b.Loop() {
		h := newBench(b, Config{})
		h.play(h.client, cat(startup30, msg('p', []byte("x\x00"))), false)
		h.play(h.server, replies, false)
		if e := h.end(b); e.out.Session == nil {
			b.Fatal(e.err)
		}
	}
}
