package evloop_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
)

// way is a kind of Stream: pair returns one, and its other end.
type way struct {
	name string
	pair func(testing.TB, *evloop.Loop) (net.Conn, evloop.Stream)
}

func ways(t *testing.T) []way {
	all := []way{{"plain", func(t testing.TB, l *evloop.Loop) (net.Conn, evloop.Stream) {
		a, b := pair(t, "tcp", "127.0.0.1:0")
		return a, adopted(t, l, b)
	}}}
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		cfg := serverConfig(t)
		cfg.MaxVersion = version
		all = append(all, way{name, func(t testing.TB, l *evloop.Loop) (net.Conn, evloop.Stream) { return tlsPair(t, l, cfg) }})
	}
	return all
}

func serverConfig(t testing.TB) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
}

func adopted(t testing.TB, l *evloop.Loop, c net.Conn) evloop.Stream {
	t.Helper()
	s, err := l.Adopt(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bytewise writes single bytes, so that records come in pieces.
type bytewise struct{ net.Conn }

func (c bytewise) Write(p []byte) (int, error) {
	if len(p) > 4000 {
		return c.Conn.Write(p)
	}
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func tlsPair(t testing.TB, l *evloop.Loop, cfg *tls.Config) (net.Conn, evloop.Stream) {
	t.Helper()
	a, b := pair(t, "tcp", "127.0.0.1:0")
	client := tls.Client(bytewise{a}, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	server := tls.Server(evloop.Under(b), cfg)
	if err := errors.Join(server.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return client, adopted(t, l, server)
}

// TestTLSRounds: messages of all sizes, whose records come byte by byte, or many
// at once.
func TestTLSRounds(t *testing.T) {
	for _, way := range ways(t) {
		t.Run(way.name, func(t *testing.T) {
			a, c := way.pair(t, newLoop(t))
			defer func() { _, _ = a.Close(), c.Close() }()
			if err := a.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
				t.Fatal(err)
			}
			e := &echo{c: c, ended: make(chan error, 1)}
			defer e.wg.Wait()
			e.start()
			for _, size := range []int{1, 10, 999, 1000, 1001, 5000, 16384, 16385, 100_000} {
				p := bytes.Repeat([]byte{byte(size)}, size)
				go func() { _, _ = a.Write(p) }() // an error shows below
				got := make([]byte, size)
				if _, err := io.ReadFull(a, got); err != nil || !bytes.Equal(got, p) {
					t.Fatalf("%d bytes: %v", size, err)
				}
			}
		})
	}
}

// TestTLSAhead: what TLS has taken from the socket before the handler came is not
// left there.
func TestTLSAhead(t *testing.T) {
	a, c := tlsPair(t, newLoop(t), serverConfig(t))
	defer func() { _, _ = a.Close(), c.Close() }()
	if err := a.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 4)
	if _, err := c.Read(first); err != nil || string(first) != "0123" {
		t.Fatalf("%q %v", first, err)
	}
	e := &echo{c: c, ended: make(chan error, 1)}
	defer e.wg.Wait()
	e.start()
	rest := make([]byte, 6)
	if _, err := io.ReadFull(a, rest); err != nil || string(rest) != "456789" {
		t.Fatalf("%q %v", rest, err)
	}
	// The end of TLS comes with the last words, and the socket stays open.
	raw := a.(*tls.Conn)
	if _, err := raw.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	if err := raw.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-e.ended; !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestTLSNewKeys: OpenSSL asks for new keys, and gives itself some.
func TestTLSNewKeys(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("crypto/tls never asks for new keys, and there is no OpenSSL: ", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	cmd := exec.CommandContext(t.Context(), path, "s_client", "-connect", ln.Addr().String(), "-tls1_3")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	sock, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := tls.Server(evloop.Under(sock), serverConfig(t))
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := adopted(t, newLoop(t), server)
	defer func() { _ = c.Close() }()
	e := &echo{c: c, ended: make(chan error, 1)}
	e.start()
	lines := bufio.NewScanner(out)
	say := func(line, answer string) { t.Helper(); converse(t, in, lines, line, answer) }
	for range 3 {
		say("before", "before")
		say("K", "KEYUPDATE") // for both sides
		say("between", "between")
		say("k", "KEYUPDATE") // for its own
		say("behind", "behind")
	}
	_ = in.Close()
	if err := <-e.ended; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// converse says a line, and waits for another.
func converse(t *testing.T, in io.Writer, lines *bufio.Scanner, line, answer string) {
	t.Helper()
	if _, err := io.WriteString(in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if lines.Text() == answer {
			return
		}
	}
	t.Fatalf("no answer to %q: %v", line, lines.Err())
}
