package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// relayDelay is added to each direction, so that a round trip takes 1 ms
	// longer: two machines in neighbouring data centres of one region.
	relayDelay = 500 * time.Microsecond
	// relayBuffer bounds one read, relayChunks those under way in one direction:
	// far more than loopback carries during the delay, so the relay delays
	// without limiting the bandwidth.
	relayBuffer = 64 << 10
	relayChunks = 1024
	// delayProbes is how many round trips show what the delay really is.
	delayProbes = 200
)

// delayRelay is a TCP relay that hands on all it receives a fixed time later. It
// stands in for the network between a client and a server on another machine:
// on loopback a round trip costs next to nothing, so that what a proxy saves or
// adds by waiting for one would not show. Each chunk has a time of its own at
// which it is due, so that much data is no slower than little.
//
// One goroutine accepts. Each connection has one goroutine, which waits for the
// other three of it: a reader and a writer for either direction. They end when
// both peers have closed, or when stop closes the connections.
type delayRelay struct {
	listener net.Listener
	upstream string
	delay    time.Duration
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func startDelay(upstream string, delay time.Duration) (*delayRelay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the delaying relay: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &delayRelay{listener: listener, upstream: upstream, delay: delay, cancel: cancel}
	r.running.Go(func() { r.accept(ctx) })
	return r, nil
}

func (r *delayRelay) addr() string { return r.listener.Addr().String() }

// stop ends every connection and returns when nothing of the relay runs.
func (r *delayRelay) stop() {
	r.cancel()
	r.listener.Close()
	r.running.Wait()
}

func (r *delayRelay) accept(ctx context.Context) {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.running.Go(func() { r.serve(ctx, client.(*net.TCPConn)) })
	}
}

func (r *delayRelay) serve(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", r.upstream)
	if err != nil {
		return // the client sees its connection end
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})()
	var both sync.WaitGroup
	both.Go(func() { r.pump(server, client) })
	r.pump(client, server)
	both.Wait()
}

// chunk is what one read returned, and when it may be written.
type chunk struct {
	data []byte
	due  time.Time
}

// pump hands on one direction until it ends, and then ends the other side of it.
func (r *delayRelay) pump(to, from *net.TCPConn) {
	chunks := make(chan chunk, relayChunks)
	go func() {
		defer close(chunks)
		buf := make([]byte, relayBuffer)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				chunks <- chunk{bytes.Clone(buf[:n]), time.Now().Add(r.delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range chunks {
		sleepUntil(c.due)
		if _, err := to.Write(c.data); err != nil {
			from.Close() // so that the reader ends, too
			for range chunks {
			}
		}
	}
	// Where the peer has gone there is nothing left to end.
	_ = to.CloseWrite()
}

// delayNote says what the relay adds by measurement, since no sleep is exact.
func delayNote(ctx context.Context, near, far endpoint) (string, error) {
	var medians [2]time.Duration
	for i, ep := range []endpoint{near, far} {
		conn, err := pgx.Connect(ctx, ep.dsn())
		if err != nil {
			return "", fmt.Errorf("connect for the delay: %w", err)
		}
		values, err := timeProbes(ctx, conn, delayProbes, []probe{{"select", func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "select 1")
			return err
		}}})
		// All it was for is done.
		_ = conn.Close(ctx)
		if err != nil {
			return "", err
		}
		medians[i] = time.Duration(values[0] * float64(time.Microsecond))
	}
	return fmt.Sprintf("both ways through a relay that delays each direction by %v; a round trip took %v longer (median of %d)",
		relayDelay, (medians[1] - medians[0]).Round(10*time.Microsecond), delayProbes), nil
}
