package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// stub stands before a PostgreSQL and has the grammar of Relyt's external tables: it
// reads the files of a LOCATION with the credentials that are in it, and fills a real
// table of that name with them by a COPY, in front of the statement's own INSERT. All
// else is passed on.
type stub struct {
	addr   string
	server string
	t      testing.TB
	wg     sync.WaitGroup

	mu    sync.Mutex
	plans []string
	// answer, unless nil, gives the text that is run in place of a plan, and what is
	// said to it in addition.
	answer func(location string) (sql string, extra []byte)
	// lose is how many of a plan's files are not read.
	lose int
}

// newStub starts one before a server, and ends it with the test.
func newStub(t testing.TB, server string) *stub {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{addr: ln.Addr().String(), server: server, t: t}
	s.wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(client) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); s.wg.Wait() })
	return s
}

// seen are the plans that came.
func (s *stub) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.plans...)
}

// change sets what is done with plans from now on.
func (s *stub) change(answer func(string) (string, []byte), lose int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.lose = answer, lose
}

// stubSession is one connection.
type stubSession struct {
	s              *stub
	client, server net.Conn
	// asked gets a value when the server wants the data of a plan, or has ended one.
	asked chan bool

	mu sync.Mutex
	// planned: the table of a plan is made; extra is said before its INSERT ends.
	planned bool
	extra   []byte
}

// drop ends a plan.
const drop = "; DROP FOREIGN TABLE "

func (s *stub) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", s.server)
	if err != nil {
		return
	}
	defer server.Close()
	if !startup(client, server) {
		_, _ = io.Copy(client, server) // the end of a cancel
		return
	}
	c := &stubSession{s: s, client: client, server: server, asked: make(chan bool, 4)}
	var back sync.WaitGroup
	back.Go(func() { c.fromServer(); _ = client.Close() })
	c.fromClient()
	_ = server.Close()
	back.Wait()
}

// startup passes on what has no type byte, and says whether a session follows.
func startup(client, server net.Conn) bool {
	for {
		var size [4]byte
		if _, err := io.ReadFull(client, size[:]); err != nil {
			return false
		}
		rest := make([]byte, binary.BigEndian.Uint32(size[:])-4)
		if _, err := io.ReadFull(client, rest); err != nil {
			return false
		}
		if _, err := server.Write(append(size[:], rest...)); err != nil {
			return false
		}
		switch code := binary.BigEndian.Uint32(rest); {
		case code>>16 == 3:
			return true
		case code == 80877102: // a cancel
			return false
		}
		if _, err := io.CopyN(client, server, 1); err != nil { // no TLS
			return false
		}
	}
}

// readFrame reads a message with a type byte, whole.
func readFrame(r io.Reader) (typ byte, whole []byte, err error) {
	head := make([]byte, frame.HeaderLen)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	typ, n, err := frame.Head(head)
	if err != nil {
		return 0, nil, err
	}
	whole = append(head, make([]byte, n)...)
	_, err = io.ReadFull(r, whole[frame.HeaderLen:])
	return typ, whole, err
}

func (c *stubSession) fromClient() {
	for {
		typ, whole, err := readFrame(c.client)
		if err != nil {
			return
		}
		if sql := string(bytes.TrimSuffix(whole[frame.HeaderLen:], []byte{0})); typ == 'Q' {
			if strings.Contains(sql, "EXTERNAL TABLE") {
				if !c.plan(sql) {
					return
				}
				continue
			}
			whole = frame.AppendString(nil, 'Q', strings.Replace(sql, drop, "; DROP TABLE ", 1))
		}
		if _, err := c.server.Write(whole); err != nil {
			return
		}
	}
}

// planText takes apart what makes an external table, which comes in a text of its own.
var planText = regexp.MustCompile(`(?s)\ACREATE EXTERNAL TABLE ("(?:[^"]|"")*"\."[^"]*") \((.*)\) LOCATION \('([^']*)'\) FORMAT '(TEXT|CSV)' \((.*)\)\z`)

// plan makes the table of a plan.
func (c *stubSession) plan(sql string) bool {
	m := planText.FindStringSubmatch(sql)
	if m == nil {
		c.s.t.Errorf("a plan that Relyt does not know: %s", sql)
		return false
	}
	c.s.mu.Lock()
	c.s.plans = append(c.s.plans, sql)
	answer, lose := c.s.answer, c.s.lose
	c.s.mu.Unlock()
	options := m[5]
	if m[4] == "TEXT" {
		options = strings.Replace(options, ` ESCAPE E'\\'`, "", 1) // COPY has none
	} else {
		options = "CSV " + options
	}
	text, extra := "CREATE TABLE "+m[1]+" ("+m[2]+"); COPY "+m[1]+" FROM STDIN "+options, []byte(nil)
	if answer != nil {
		var instead string
		if instead, extra = answer(m[3]); instead != "" {
			text = instead
		}
	}
	c.mu.Lock()
	c.planned, c.extra = true, extra
	c.mu.Unlock()
	if _, err := c.server.Write(frame.AppendString(nil, 'Q', text)); err != nil {
		return false
	}
	if !<-c.asked {
		return true
	}
	data, err := c.s.read(m[3], lose)
	if err != nil {
		c.s.t.Errorf("read %s: %v", m[3], err)
	}
	_, err = c.server.Write(frame.Append(copyData(data), 'c', nil))
	return err == nil && !<-c.asked
}

// read returns the rows of a LOCATION but for so many files.
func (s *stub) read(location string, lose int) ([]byte, error) {
	words := strings.Fields(location)
	host, path, _ := strings.Cut(strings.TrimPrefix(words[0], "s3://"), "/")
	bucket, prefix, _ := strings.Cut(path, "/")
	option := map[string]string{}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		option[name] = value
	}
	b, err := store.New(context.Background(), store.Config{
		Endpoint: "http://" + host, Region: option["region"], Bucket: bucket, PathStyle: true,
		AccessKey: option["accessid"], SecretKey: store.Secret(option["secret"]), SessionToken: store.Secret(option["token"]),
	}, store.Deps{})
	if err != nil {
		return nil, err
	}
	defer b.Close(context.Background())
	var data bytes.Buffer
	for info, err := range b.List(context.Background(), prefix) {
		if err != nil {
			return nil, err
		}
		if lose--; lose >= 0 {
			continue
		}
		r, err := b.Open(context.Background(), info.Key)
		if err != nil {
			return nil, err
		}
		if _, err := data.ReadFrom(r); err != nil {
			return nil, err
		}
		_ = r.Close()
		if !bytes.HasSuffix(data.Bytes(), []byte("\n")) {
			data.WriteByte('\n')
		}
	}
	return data.Bytes(), nil
}

// fromServer passes answers on, but for those to the COPY of a plan.
func (c *stubSession) fromServer() {
	defer close(c.asked)
	for {
		typ, whole, err := readFrame(c.server)
		if err != nil {
			return
		}
		c.mu.Lock()
		tag, _, _ := frame.CString(whole[frame.HeaderLen:])
		switch {
		case c.planned && typ == 'G':
			c.asked <- true
			whole = nil
		case c.planned && typ == 'C' && strings.HasPrefix(string(tag), "COPY"):
			whole = nil
		case c.planned && typ == 'Z':
			c.planned = false
			c.asked <- false
		case typ == 'C' && strings.HasPrefix(string(tag), "INSERT") && c.extra != nil:
			whole, c.extra = append(c.extra, whole...), nil
		}
		c.mu.Unlock()
		if _, err := c.client.Write(whole); err != nil {
			return
		}
	}
}

// notice is a NoticeResponse, or with FATAL an ErrorResponse, whose fields all say the
// same.
func notice(severity, code, text string) []byte {
	n := pgproto3.NoticeResponse{Severity: severity, SeverityUnlocalized: severity, Code: code, Message: text, Detail: text, Hint: text, Where: text, InternalQuery: text}
	var out []byte
	var err error
	if severity == "FATAL" {
		e := pgproto3.ErrorResponse(n)
		out, err = e.Encode(nil)
	} else {
		out, err = n.Encode(nil)
	}
	if err != nil {
		panic(fmt.Sprintf("encode a notice: %v", err))
	}
	return out
}

// bedStub is a stub before the tests' server.
func bedStub(t testing.TB) (*testenv.PG, *stub) {
	pg := testenv.Postgres(t)
	return pg, newStub(t, pg.Addr)
}
