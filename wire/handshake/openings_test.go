package handshake

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
)

// testDirectTLS: libpq 17 begins with TLS, and with the protocol's name in it.
func testDirectTLS(t *testing.T, s *tlsServer) {
	p := startProxy(t, Config{Upstream: s.Addr, ClientTLS: s.cert.server()})
	dial := func(protos ...string) (*tls.Conn, error) {
		return tls.Dial("tcp", p.addr, &tls.Config{RootCAs: s.cert.pool, NextProtos: protos})
	}

	conn, err := dial(alpn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newRaw(t, conn)
	c.send(startupPacket(3<<16, "user", "u_ssl", "database", "postgres"))
	if !bytes.Equal(c.expect('R'), []byte{0, 0, 0, 0}) {
		t.Fatal("not let in")
	}
	for c.message()[0] != 'Z' {
	}

	if conn, err := dial("http/1.1"); err == nil {
		t.Errorf("another protocol was accepted: %q", conn.ConnectionState().NegotiatedProtocol)
		conn.Close()
	}
	if conn, err := dial(); err == nil {
		c := newRaw(t, conn)
		c.send(startupPacket(3<<16, "user", "u_ssl"))
		c.expectEOF()
		conn.Close()
	}

	plain := startProxy(t, Config{Upstream: s.Addr})
	if _, err := tls.Dial("tcp", plain.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}}); err == nil {
		t.Error("TLS without a certificate")
	}
}

// testOpenings compares the bytes of the first answers with a direct
// connection's.
func testOpenings(t *testing.T, s *tlsServer) {
	p := startProxy(t, Config{Upstream: s.Addr, UpstreamTLSMode: SSLDisable})
	user := []string{"user", "u_plain", "database", "postgres"}
	for name, c := range map[string]struct {
		sends []byte
		until byte   // the type of the last message to compare, 0: all until the end
		cut   []byte // compare up to here only: the rest names the source file
	}{
		"3.0":                {startupPacket(3<<16, user...), 'S', nil},
		"3.2":                {startupPacket(3<<16|2, user...), 'S', nil},
		"3.9999":             {startupPacket(3<<16|9999, user...), 'S', nil},
		"grease":             {startupPacket(3<<16|9999, append(user, "_pq_.test_protocol_negotiation", "")...), 'S', nil},
		"option":             {startupPacket(3<<16, append(user, "_pq_.foo", "1", "_pq_.bar", "x")...), 'S', nil},
		"no user":            {startupPacket(3 << 16), 0, []byte("\x00F")},
		"no terminator":      {append(code(13, 3<<16), "user\x00"...), 0, []byte("\x00F")},
		"name without value": {append(code(16, 3<<16), "user\x00u\x00\x00"...), 0, []byte("\x00F")},
		"after terminator":   {append(code(17, 3<<16), "user\x00u\x00\x00x"...), 0, []byte("\x00F")},
		"2.0":                {append(code(296, 2<<16), make([]byte, 288)...), 0, []byte(": server")},
		"4.0":                {code(8, 4<<16), 0, []byte(": server")},
		"too long":           {code(10005, 3<<16), 0, nil},
		"negative":           {code(1<<31, 3<<16), 0, nil},
		"too short":          {code(7, 3<<16), 0, nil},
		"zero":               {code(0, 3<<16), 0, nil},
		"http":               {[]byte("GET / HTTP/1.1\r\n\r\n"), 0, nil},
		"short cancel":       {code(15, codeCancel, 1, 1), 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, got := answer(t, s.Addr, c.sends, c.until), answer(t, p.addr, c.sends, c.until)
			if i := bytes.Index(want, c.cut); i > 0 && len(got) >= i {
				want, got = want[headerLen:i], got[headerLen:i]
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("direct %q\nproxy  %q", want, got)
			}
		})
	}
}

// answer is what an address says to these bytes.
func answer(t *testing.T, addr string, sends []byte, until byte) []byte {
	t.Helper()
	c := dialRaw(t, addr)
	c.send(sends)
	if until == 0 {
		all, err := io.ReadAll(c.r)
		if err != nil && isTimeout(err) {
			t.Fatal(err)
		}
		return all
	}
	var all []byte
	for {
		m := c.message()
		all = append(all, m...)
		if m[0] == until {
			return all
		}
	}
}

// testEstablished looks at what the session is handed.
func testEstablished(t *testing.T, s *tlsServer) {
	p := startProxy(t, Config{Upstream: s.Addr, ClientTLS: s.cert.server()})
	c := dialRaw(t, p.addr)
	c.send(gssRequest())
	if b := c.byte(); b != 'N' {
		t.Fatalf("GSSENCRequest: %q", b)
	}
	c.send(sslRequest())
	if b := c.byte(); b != 'S' {
		t.Fatalf("SSLRequest: %q", b)
	}
	conn := tls.Client(c.conn, &tls.Config{RootCAs: s.cert.pool, ServerName: "127.0.0.1"})
	c = newRaw(t, conn)
	// A query right behind the startup packet, before anybody has let us in.
	query := msg('Q', []byte("SELECT 'early'\x00"))
	c.send(cat(startupPacket(3<<16|2, "user", "u_ssl", "application_name", "x", "application_name", "y", "database", "postgres"), query))
	c.expect('v')

	e := p.outcome(t).out.Session
	if e == nil {
		t.Fatal("no session")
	}
	if e.Protocol != 3<<16 || e.User != "u_ssl" || e.Database != "postgres" || len(e.Params) != 4 || e.Params[2] != (Param{"application_name", "y"}) {
		t.Errorf("%+v", e)
	}
	if e.ParameterStatus["application_name"] != "y" || e.ParameterStatus["server_version"] == "" || e.BackendPID == 0 ||
		len(e.CancelKey) != 4 || e.TxStatus != 'I' || e.Replication {
		t.Errorf("%+v", e)
	}
	if _, ok := e.Server.(*tls.Conn); !ok {
		t.Errorf("upstream without TLS: %T", e.Server)
	}
	if e.ServerAddr.String() != s.Addr {
		t.Errorf("server at %s, not %s", e.ServerAddr, s.Addr)
	}
	for c.message()[0] != 'D' {
	}
	c.send(msg('X'))
}
