package wire

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
	"github.com/pgbulkproxy/pgbulkproxy/wire/handshake"
)

// awaitAloft returns when the event loop relays a session, or does so no more.
func awaitAloft(s *session, want bool) {
	for is := !want; is != want; runtime.Gosched() {
		s.on.mu.Lock()
		is = s.on.aloft
		s.on.mu.Unlock()
	}
}

// TestLastBytes: what the loop can't write arrives also where nothing follows.
func TestLastBytes(t *testing.T) {
	t.Parallel()
	everyWay(func(by way) {
		if by == byGoroutines {
			return
		}
		k := talk{by: by, narrow: true}
		client, proxyClient := k.pair(t)
		server, proxyServer := k.pair(t)
		s := newSession(newTestServer(nil), 1, &handshake.Established{Client: proxyClient, Server: proxyServer, TxStatus: 'I'})
		s.ctx, s.cancel = context.WithCancelCause(t.Context())
		s.adopt(testLoop)
		done := make(chan struct{})
		go func() { defer close(done); s.run() }()
		pass := func(from, to endable, p []byte) {
			t.Helper()
			go func() { _, _ = from.Write(p) }() // what is missing shows below
			if len(p) > 10<<10 {
				awaitAloft(s, false)
			}
			if err := to.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(p))
			if n, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, p) {
				t.Fatalf("way %d: %d of %d bytes: %v", by, n, len(p), err)
			}
		}
		// Each is one record of TLS, and more than the sockets take.
		query := frame.Append(nil, 'Q', bytes.Repeat([]byte("x"), 15<<10))
		answer := append(frame.Append(nil, 'D', make([]byte, 15<<10)), frames("ZI")...)
		for range 2 {
			awaitAloft(s, true)
			pass(client, server, query)
			pass(server, client, frames("ZI"))
			pass(client, server, frames("Qx$"))
			awaitAloft(s, true)
			pass(server, client, answer)
			pass(client, server, frames("Qx$"))
			pass(server, client, frames("ZI"))
		}
		_, _ = client.Close(), server.Close()
		<-done
	})
}
