package gpfdist

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// peer is a segment: it asks as the database's own does, and reads frames.
type peer struct {
	conn net.Conn
	in   *bufio.Reader
	code int
	body http.Header
}

// ask is a segment's request for a stream.
type ask struct {
	path        string
	method      string
	scan        string
	segment, of int
	extra       string // header lines
	proto       string
}

func (a ask) text() string {
	if a.method == "" {
		a.method = "GET"
	}
	if a.scan == "" {
		a.scan = "1"
	}
	if a.proto == "" {
		a.proto = "1"
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"+
		"X-GP-XID: 1732222222-0000000042\r\nX-GP-CID: 0\r\nX-GP-SN: %s\r\nX-GP-SEGMENT-ID: %d\r\nX-GP-SEGMENT-COUNT: %d\r\n"+
		"X-GP-LINE-DELIM-LENGTH: -1\r\nX-GP-PROTO: %s\r\nX-GP-MASTER_HOST: 127.0.0.1\r\nX-GP-MASTER_PORT: 5432\r\n"+
		"X-GP-CSVOPT: m0x92q0n0h0\r\nX-GP-DATABASE: test\r\nX-GP-USER: gpadmin\r\n%s\r\n",
		a.method, a.path, a.scan, a.segment, a.of, a.proto, a.extra)
}

// with is the request with another value of a header.
func (a ask) with(header, value string) string {
	lines := strings.Split(a.text(), "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, header+":") {
			lines[i] = header + ": " + value
		}
	}
	return strings.Join(lines, "\r\n")
}

// dial connects and sends a request.
func dial(t testing.TB, s *Server, text string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return &peer{conn: c, in: bufio.NewReaderSize(c, 1<<16)}
}

// open reads the answer's head.
func (p *peer) open() error {
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return err
	}
	p.code, p.body = resp.StatusCode, resp.Header
	if p.code == http.StatusOK {
		if len(resp.TransferEncoding) > 0 || resp.ContentLength >= 0 {
			return errors.New("the answer is not a plain stream")
		}
		return nil
	}
	why, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return fmt.Errorf("%d %s", p.code, bytes.TrimSpace(why))
}

// got is one block as a segment sees it.
type got struct {
	name string
	line int64
	data []byte
}

// errEnd says that an E frame came.
type errEnd string

func (e errEnd) Error() string { return string(e) }

// next reads one block; io.EOF is the end that the other side has said.
func (p *peer) next() (got, error) {
	var g got
	for {
		var head [5]byte
		if _, err := io.ReadFull(p.in, head[:]); err != nil {
			return g, fmt.Errorf("read frame: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(p.in, body); err != nil {
			return g, fmt.Errorf("read frame %c: %w", head[0], err)
		}
		switch head[0] {
		case 'F':
			g.name = string(body)
		case 'O':
		case 'L':
			g.line = int64(binary.BigEndian.Uint64(body))
		case 'E':
			return g, errEnd(body)
		case 'D':
			g.data = body
			if len(body) == 0 {
				return g, io.EOF
			}
			return g, nil
		default:
			return g, fmt.Errorf("frame %q", head[0])
		}
	}
}

// drain reads to the end.
func (p *peer) drain(each func(got)) error {
	if err := p.open(); err != nil {
		return err
	}
	for {
		g, err := p.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		each(g)
	}
}

// table is what segments have read, by line.
type table struct {
	mu    sync.Mutex
	lines map[int64]string
	twice []int64
}

func (tb *table) add(g got) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if tb.lines == nil {
		tb.lines = make(map[int64]string)
	}
	for i, row := range strings.SplitAfter(strings.TrimSuffix(string(g.data), "\n"), "\n") {
		at := g.line + int64(i)
		if _, there := tb.lines[at]; there {
			tb.twice = append(tb.twice, at)
		}
		tb.lines[at] = strings.TrimSuffix(row, "\n")
	}
}

// check wants lines 1 to n, each once and with its own text.
func (tb *table) check(t testing.TB, n int64) {
	t.Helper()
	if len(tb.twice) > 0 {
		t.Errorf("lines came twice: %v", tb.twice)
	}
	if int64(len(tb.lines)) != n {
		t.Errorf("%d lines came, not %d", len(tb.lines), n)
	}
	for at, text := range tb.lines {
		if text != row(at) && (len(text) < largeSize || !strings.HasPrefix(text, row(at))) {
			t.Fatalf("line %d is %q", at, text)
		}
	}
}

// row is the text of a line.
func row(line int64) string { return fmt.Sprintf("%d\trow number %d", line, line) }

// block has rows from a line on.
func block(line, rows int64) Block {
	var p []byte
	for i := range rows {
		p = append(p, row(line+i)...)
		p = append(p, '\n')
	}
	return Block{Data: bytes.NewReader(p), Size: int64(len(p)), Rows: rows, Line: line}
}

// largeSize is more than what the sockets of a connection hold.
const largeSize = 32 << 20

// large is a block of one row that stays where it is until it is read.
func large(line int64) Block {
	p := append([]byte(row(line)), bytes.Repeat([]byte("x"), largeSize)...)
	p = append(p, '\n')
	return Block{Data: bytes.NewReader(p), Size: int64(len(p)), Rows: 1, Line: line}
}

// feed adds blocks of 100 rows and finishes.
func feed(ctx context.Context, st *Stream, rows int64) error {
	for line := int64(1); line <= rows; line += 100 {
		if err := st.Add(ctx, block(line, min(100, rows-line+1))); err != nil {
			return err
		}
	}
	st.Finish()
	return nil
}

// newServer listens on loopback.
func newServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// newStream opens a stream that is closed with the test.
func newStream(t testing.TB, s *Server) (st *Stream, path string) {
	t.Helper()
	st, err := s.Open("COPY t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	return st, strings.TrimPrefix(st.URL(), "gpfdist://"+s.Address())
}

// plainBytes are a block's rows that several blocks may share.
type plainBytes []byte

// WriteTo implements io.WriterTo.
func (p plainBytes) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(p)
	return int64(n), err
}
