package handshake

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// TestBadUpstream: whatever it sends, the client gets an error and both
// connections end.
func TestBadUpstream(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sends []byte
		code  string
	}{
		"nothing":                    {nil, "08006"},
		"half a message":             {[]byte{'R', 0, 0}, "08006"},
		"half a body":                {auth(authOK)[:7], "08006"},
		"gone after ok":              {authenticated, "08006"},
		"http":                       {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "08P01"},
		"negative length":            {append([]byte{'R'}, code(1<<32-1)...), "08P01"},
		"short length":               {append([]byte{'R'}, code(3)...), "08P01"},
		"huge nonce":                 {append(append([]byte{'R'}, code(1<<30)...), make([]byte, 1000)...), "08P01"},
		"old error":                  {[]byte("Ecould not fork new process for connection: x\n\x00"), "57P03"},
		"request without code":       {msg('R', []byte{0}), "08P01"},
		"two ok":                     {cat(authenticated, authenticated), "08P01"},
		"asks thrice":                {cat(auth(3), auth(3), auth(3)), "08P01"},
		"early ready":                {ready, "08P01"},
		"early key":                  {msg('K', code(1, 2)), "08P01"},
		"key too long":               {cat(authenticated, msg('K', code(1), make([]byte, 257))), "08P01"},
		"key without pid":            {cat(authenticated, msg('K', []byte{1})), "08P01"},
		"ready without status":       {cat(authenticated, msg('Z')), "08P01"},
		"parameter without value":    {cat(authenticated, msg('S', []byte("name\x00"))), "08P01"},
		"parameter without name":     {cat(authenticated, msg('S')), "08P01"},
		"version without version":    {cat(msg('v', []byte{1}), auth(3)), "08P01"},
		"notices without end":        {bytes.Repeat(msg('N', []byte{0}), 100), "08P01"},
		"parameters without end":     {append(authenticated, bytes.Repeat(msg('S', append(bytes.Repeat([]byte("n"), 60000), 0, 0)), 20)...), "08P01"},
		"only binding":               {auth(authSASL, []byte("SCRAM-SHA-256-PLUS\x00\x00")...), "28000"},
		"error without code":         {msg('E', []byte("SFATAL\x00Mx\x00\x00")), ""},
		"error without fields":       {msg('E', []byte{0}), ""},
		"error without body":         {msg('E'), ""},
		"error without terminators":  {msg('E', []byte("Cx")), ""},
		"error after authentication": {cat(authenticated, msg('E', []byte("C3D000\x00\x00"))), "3D000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, client := plainTo(t, func(s *raw) {
				s.packet()
				_, _ = s.conn.Write(c.sends) // the proxy may hang up in between
				_ = s.conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, s.r)
			})
			client.send(startup30)
			m := client.message()
			for m[0] != 'E' {
				m = client.message()
			}
			if got := pgerr.Parse(m[headerLen:]).Code(); got != c.code && c.code != "" {
				t.Errorf("got %q, want %s", m, c.code)
			}
			if c.code == "" && !bytes.Equal(m, c.sends) {
				t.Errorf("got %q, want it as sent: %q", m, c.sends)
			}
			client.expectEOF()
			if e := p.outcome(t); e.err == nil || e.out.Session != nil {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestBadAnswer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string][]byte{
		"too long": append([]byte{'p'}, code(maxAnswer+1)...), "negative": append([]byte{'p'}, code(1<<32-2)...), "short": append([]byte{'p'}, code(3)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := plainTo(t, func(s *raw) {
				s.packet()
				s.send(auth(3))
				s.expectEOF()
			})
			c.send(startup30)
			c.expect('R')
			c.send(answer)
			c.expectError("08P01", "invalid message length")
			c.expectEOF()
		})
	}
}

// TestClientLeaves: while the proxy waits for an answer, and while the server
// takes its time after the authentication.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	for name, sends := range map[string][]byte{"asked": auth(3), "authenticated": authenticated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, c := plainTo(t, func(s *raw) {
				s.packet()
				s.send(sends)
				s.expectEOF()
			})
			c.send(startup30)
			c.expect('R')
			c.conn.Close()
			if e := p.outcome(t); !errors.Is(e.err, errClientGone) {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	for up, want := range map[string]string{nobody: "connection refused", dir: "no such file or directory", "host.invalid": "host name lookup did not succeed"} {
		p := startProxy(t, Config{Upstream: up})
		c := dialRaw(t, p.addr)
		c.send(startup30)
		e := c.expectError("57P03", "could not connect to upstream: "+want)
		if text := string(e.AppendBody(nil)); strings.Contains(text, "127.0.0.1") || strings.Contains(text, dir) || strings.Contains(text, "invalid") {
			t.Errorf("%q", text)
		}
		c.expectEOF()
		if e := p.outcome(t); pgerr.As(e.err).Code() != "57P03" {
			t.Errorf("%v", e.err)
		}
	}
}

func TestUpstreamTLSRefusals(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t)
	for name, c := range map[string]struct {
		cfg    Config
		script func(*raw)
		want   string
	}{
		"no TLS": {Config{UpstreamTLSMode: SSLRequire}, func(s *raw) { s.packet(); s.send([]byte("N")); s.expectEOF() },
			"upstream does not support TLS, but TLS was required"},
		"error": {Config{UpstreamTLSMode: SSLRequire}, func(s *raw) { s.packet(); s.send(msg('E', []byte("Msecret\x00\x00"))); _, _ = io.Copy(io.Discard, s.r) },
			"upstream sent an error instead of negotiating TLS"},
		"nonsense": {Config{UpstreamTLSMode: SSLRequire}, func(s *raw) { s.packet(); s.send([]byte("?")); s.expectEOF() },
			"upstream sent '?' instead of negotiating TLS"},
		"injected plain text": {Config{UpstreamTLSMode: SSLRequire}, func(s *raw) {
			s.packet()
			s.send(append([]byte("S"), authenticated...))
			_, _ = io.Copy(io.Discard, s.r)
		},
			"could not negotiate TLS with upstream: connection lost or refused"},
		"direct, another protocol": {Config{UpstreamTLSMode: SSLRequire, UpstreamDirectTLS: true}, func(s *raw) {
			conn := tls.Server(&replayConn{Conn: s.conn}, cert.server())
			_ = conn.Handshake()
			_, _ = io.Copy(io.Discard, conn)
		}, "upstream does not support direct TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Upstream = upstream(t, c.script)
			client := dialRaw(t, startProxy(t, c.cfg).addr)
			client.send(startup30)
			m := client.expect('E')
			if got := pgerr.Parse(m).Get('M'); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			client.expectEOF()
		})
	}
}

// TestDirectUpstream: TLS from the first byte, and prefer's way out when the
// TLS handshake fails.
func TestDirectUpstream(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t)
	cfg := cert.server()
	cfg.NextProtos = []string{alpn}
	serve := func(s *raw) {
		s.packet()
		s.send(cat(authenticated, ready))
		s.expectEOF()
	}
	up := upstream(t, func(s *raw) { serve(newRaw(t, tls.Server(s.conn, cfg))) })
	p := startProxy(t, Config{Upstream: up, UpstreamTLSMode: SSLVerifyFull, UpstreamTLS: &tls.Config{RootCAs: cert.pool}, UpstreamDirectTLS: true})
	c := dialRaw(t, p.addr)
	c.send(startup30)
	c.expect('R')
	c.expect('Z')
	c.conn.Close()

	up = upstream(t, func(s *raw) {
		if bytes.Equal(mustPeek(s, 8), sslRequest()) {
			s.packet()
			s.send([]byte("Snonsense"))
			_, _ = io.Copy(io.Discard, s.r)
			return
		}
		serve(s)
	})
	c = dialRaw(t, startProxy(t, Config{Upstream: up}).addr)
	c.send(startup30)
	c.expect('R')
	c.expect('Z')
	c.conn.Close()
}

func mustPeek(s *raw, n int) []byte {
	p, err := s.r.Peek(n)
	if err != nil {
		s.t.Errorf("peek: %v", err)
	}
	return p
}

// TestEarlyBytes: nothing may follow a request for encryption (CVE-2021-23214).
func TestEarlyBytes(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t)
	p := startProxy(t, Config{Upstream: "127.0.0.1:1", ClientTLS: cert.server()})
	for what, request := range map[string][]byte{"SSL": sslRequest(), "GSSAPI encryption": gssRequest()} {
		c := dialRaw(t, p.addr)
		c.send(cat(request, startup30))
		if b := c.byte(); b != 'N' {
			t.Errorf("%s: %q", what, b)
		}
		c.expectError("08P01", "received unencrypted data after "+what+" request")
		c.expectEOF()
	}
}

func TestForwardCancel(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t)
	got := make(chan []byte, 1)
	up := upstream(t, func(s *raw) {
		s.packet()
		s.send([]byte("S"))
		conn := tls.Server(&replayConn{Conn: s.conn, head: mustPeek(s, s.r.Buffered())}, cert.server())
		defer conn.Close()
		got <- newRaw(t, conn).packet()
	})
	h, err := New(Config{Upstream: "127.0.0.1:1", UpstreamTLSMode: SSLRequire})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveTCPAddr("tcp", up)
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Repeat([]byte{5}, 256)
	if err := h.ForwardCancel(t.Context(), addr, 42, key); err != nil {
		t.Fatal(err)
	}
	want, _ := cancelPacket(42, key)
	if p := <-got; !bytes.Equal(p, want) {
		t.Errorf("got %q", p)
	}
	if err := h.ForwardCancel(t.Context(), nil, 42, key); pgerr.As(err).Code() != "57P03" {
		t.Errorf("%v", err)
	}
	if err := h.ForwardCancel(t.Context(), addr, 42, nil); err == nil {
		t.Error("a cancel without a key")
	}
}
