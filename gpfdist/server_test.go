package gpfdist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	good := ask{path: path, segment: 0, of: 2}
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"wrong token":    {ask{path: "/" + strings.Repeat("0", 32), of: 2}.text(), "404 no such stream"},
		"short token":    {ask{path: path[:20], of: 2}.text(), "404 no such stream"},
		"no token":       {ask{path: "/", of: 2}.text(), "404 no such stream"},
		"upper case":     {ask{path: strings.ToUpper(path) + "/", of: 2}.text(), "404 no such stream"},
		"status":         {ask{path: "/gpfdist/status", of: 2}.text(), "404 no such stream"},
		"a file":         {ask{path: "/../../etc/passwd", of: 2}.text(), "404 no such stream"},
		"post":           {ask{path: path, method: "POST", of: 2}.text(), "405 rows can only be read here"},
		"protocol 0":     {ask{path: path, proto: "0", of: 2}.text(), "400 X-GP-PROTO must be 1"},
		"no segments":    {ask{path: path}.text(), "400 not a request of a segment"},
		"segment 2 of 2": {ask{path: path, segment: 2, of: 2}.text(), "400 not a request of a segment"},
		"segment -1":     {ask{path: path, segment: -1, of: 2}.text(), "400 not a request of a segment"},
		"no scan":        {"GET " + path + " HTTP/1.1\r\nHost: a\r\nX-GP-PROTO: 1\r\n\r\n", "400 not a request of a segment"},
		"long scan":      {ask{path: path, scan: strings.Repeat("9", 65), of: 2}.text(), "400 not a request of a segment"},
		"huge headers":   {ask{path: path, of: 2, extra: "X-Pad: " + strings.Repeat("x", 64<<10) + "\r\n"}.text(), "431 431 Request Header Fields Too Large"},
		"put":            {ask{path: path, method: "PUT", of: 2, extra: "Content-Length: 5\r\n"}.text() + "a\tb\n\n", "405 rows can only be read here"},
		"options":        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "404 no such stream"},
		"connect":        {"CONNECT " + path[1:] + " HTTP/1.1\r\nHost: a\r\n\r\n", "404 no such stream"},
		"http 2":         {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "404 no such stream"},
		"a path below":   {ask{path: path + "/x", of: 2}.text(), "404 no such stream"},
		"two slashes":    {ask{path: "/" + path, of: 2}.text(), "404 no such stream"},
		"encoded slash":  {ask{path: "/%2f" + path[1:], of: 2}.text(), "404 no such stream"},
		"signed segment": {ask{path: path, of: 2}.with("X-GP-SEGMENT-ID", "+1"), "400 not a request of a segment"},
		"large segment":  {ask{path: path, of: 2}.with("X-GP-SEGMENT-ID", "99999999999999999999"), "400 not a request of a segment"},
		"large count":    {ask{path: path, of: 2}.with("X-GP-SEGMENT-COUNT", "65536"), "400 not a request of a segment"},
		"two lengths":    {ask{path: path, of: 2, extra: "Content-Length: 1\r\nContent-Length: 2\r\n"}.text(), "400 400 Bad Request"},
		"many headers":   {ask{path: path, of: 2, extra: strings.Repeat("X-Pad: x\r\n", 8<<10)}.text(), "431 431 Request Header Fields Too Large"},
		"not http":       {"hello\r\n\r\n", "400 400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			err := dial(t, s, c.text).open()
			if err == nil || err.Error() != c.want && !reset(name, err) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if got := st.Stats(); got != (Stats{}) {
		t.Errorf("refused requests count: %+v", got)
	}
	if err := dial(t, s, good.text()).open(); err != nil {
		t.Errorf("a good one behind them: %v", err)
	}
	good.of, good.segment = 3, 1
	if err := dial(t, s, good.text()).open(); err == nil || err.Error() != "409 these rows are another scan's" {
		t.Errorf("one that says there are more segments: %v", err)
	}
}

// reset allows for a connection that is closed before its headers are read to the
// end: the answer is lost then.
func reset(name string, err error) bool {
	var op *net.OpError
	return (name == "huge headers" || name == "many headers") && (errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF))
}

// TestHeadersThatNeverEnd: such a connection does not stay.
func TestHeadersThatNeverEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{HeaderTimeout: 10 * time.Millisecond})
	p := dial(t, s, "GET / HTTP/1.1\r\nHost: a\r\n")
	if _, err := io.ReadAll(p.conn); err != nil {
		t.Error(err)
	}
}

// TestTooManyConnections: the one beyond the limit is closed.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{MaxConns: 1})
	_, path := newStream(t, s)
	first := dial(t, s, ask{path: path, segment: 0, of: 2}.text())
	if err := first.open(); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, s, ask{path: path, segment: 1, of: 2}.text()).open(); err == nil {
		t.Error("the second connection was served")
	}
	_ = first.conn.Close()
	for { // until the server has seen it
		if err := dial(t, s, ask{path: path, segment: 1, of: 2}.text()).open(); err == nil {
			break
		}
	}
}

// TestNetworks: who comes from elsewhere is not heard.
func TestNetworks(t *testing.T) {
	t.Parallel()
	for network, served := range map[string]bool{"10.0.0.0/8": false, "127.0.0.0/8": true, "::/0": false} {
		s := newServer(t, Config{Networks: []netip.Prefix{netip.MustParsePrefix(network)}})
		_, path := newStream(t, s)
		c, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, ask{path: path, segment: 0, of: 1}.text()) // may be closed by now
		p := &peer{conn: c, in: bufio.NewReader(c)}
		if err := p.open(); (err == nil) != served {
			t.Errorf("from %s: %v", network, err)
		}
	}
}

func TestServerClose(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	p := dial(t, s, ask{path: path, segment: 0, of: 1}.text())
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := p.drain(func(got) {}); err == nil {
		t.Error("a segment's stream ended well")
	}
	if err := st.Add(t.Context(), block(1, 1)); !errors.Is(err, errServerClosed) {
		t.Errorf("Add: %v", err)
	}
	if _, err := s.Open("x"); !errors.Is(err, errServerClosed) {
		t.Errorf("Open: %v", err)
	}
	if _, err := net.Dial("tcp", s.Address()); err == nil {
		t.Error("it still listens")
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"host", "host:", ":80", "a b:80", "host:80/x", "u@host:80", "host':80", "host:8#0"} {
		if s, err := Listen(Config{Listen: "127.0.0.1:0", Address: bad}); err == nil {
			s.Close()
			t.Errorf("%q was taken", bad)
		}
	}
	if s, err := Listen(Config{Listen: "0.0.0.0:0"}); err == nil {
		s.Close()
		t.Error("segments were told to go to 0.0.0.0")
	}
	s, err := Listen(Config{Listen: "0.0.0.0:0", Address: "[fe80::1]:8080"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, err := s.Open(strings.Repeat("long", 100))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if url := st.URL(); !strings.HasPrefix(url, "gpfdist://[fe80::1]:8080/") || len(url) != len("gpfdist://[fe80::1]:8080/")+32 {
		t.Errorf("the URL is %s", url)
	}
	if len(st.name) != maxName {
		t.Errorf("a name of %d bytes", len(st.name))
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := newServer(t, Config{Metrics: reg})
	st, path := newStream(t, s)
	fed := make(chan error, 1)
	go func() { fed <- feed(t.Context(), st, 1000) }()
	var tb table
	if err := dial(t, s, ask{path: path, segment: 0, of: 1}.text()).drain(tb.add); err != nil {
		t.Fatal(err)
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	if err := dial(t, s, ask{path: "/x", of: 1}.text()).open(); err == nil {
		t.Fatal("a page was found")
	}
	st.Close()
	want := fmt.Sprintf(`# HELP pgbulk_gpfdist_bytes_total Bytes of rows given to segments.
# TYPE pgbulk_gpfdist_bytes_total counter
pgbulk_gpfdist_bytes_total %d
# HELP pgbulk_gpfdist_requests_total Requests of segments by result: ok, broken, refused.
# TYPE pgbulk_gpfdist_requests_total counter
pgbulk_gpfdist_requests_total{result="ok"} 1
pgbulk_gpfdist_requests_total{result="refused"} 1
# HELP pgbulk_gpfdist_rows_total Rows given to segments.
# TYPE pgbulk_gpfdist_rows_total counter
pgbulk_gpfdist_rows_total 1000
# HELP pgbulk_gpfdist_streams Loads whose rows segments may pull now.
# TYPE pgbulk_gpfdist_streams gauge
pgbulk_gpfdist_streams 0
`, st.Stats().Bytes)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestAnswerIsAsSegmentsReadIt: the header's spelling counts.
func TestAnswerIsAsSegmentsReadIt(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	st.Finish()
	p := dial(t, s, ask{path: path, segment: 0, of: 1}.text())
	raw, err := io.ReadAll(p.conn)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{"HTTP/1.1 200 OK\r\n", "\r\nX-GP-PROTO: 1\r\n", "\r\nConnection: close\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the answer has no %q: %q", want, text)
		}
	}
	if !strings.HasSuffix(text, "\r\n\r\nD\x00\x00\x00\x00") || strings.Contains(text, "chunked") {
		t.Errorf("the answer is %q", text)
	}
}

// TestOneRequestAConnection: what is sent behind the first one is not heard.
func TestOneRequestAConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	st.Finish()
	one := ask{path: path, segment: 0, of: 2}
	two := ask{path: path, segment: 1, of: 2}
	p := dial(t, s, one.text()+two.text())
	if err := p.drain(func(got) {}); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(p.in); len(rest) > 0 || err != nil {
		t.Errorf("behind it came %q, %v", rest, err)
	}
	if n := st.Stats().Segments; n != 1 {
		t.Errorf("%d segments", n)
	}
}
