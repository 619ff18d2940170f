package bulk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/gpfdist"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// pullEngine plans a statement with the URL in it.
type pullEngine struct{ fakeEngine }

func (e pullEngine) Plan(t engine.Target, stmt *rewrite.CopyStatement, s engine.Session, g engine.Group, key []byte, at time.Time) (engine.Plan, error) {
	if g.Pull == "" {
		return e.fakeEngine.Plan(t, stmt, s, g, key, at)
	}
	return engine.Plan{Open: "OPEN", Insert: "PULL " + g.Pull + fmt.Sprintf(" %q", g.EOL), Close: "CLOSE"}, e.err
}

// segments is a session whose server has so many segments, that pull.
type segments struct {
	*fakeSession
	n int
	// fail ends the statement with an error after so many lines; lose takes lines
	// from the count; leave has a segment go away at that line.
	fail, lose, leave int
	err               error
	mu                sync.Mutex
	lines             map[int64]string
	quiet             bool          // does not connect at all
	unset             bool          // the savepoint can't be set
	stuck             bool          // a cancel does not end it either
	hang              bool          // the statement does not end behind the last row
	begun             chan struct{} // has one when the statement runs
}

var pullText = regexp.MustCompile(`PULL gpfdist(://\S+) "[^"]*"`)

// Exec implements Session.
func (s *segments) Exec(ctx context.Context, sql string) ([]Result, error) {
	m := pullText.FindStringSubmatch(sql)
	if m == nil {
		return s.fakeSession.Exec(ctx, sql)
	}
	s.note(savepoints.Replace(strings.Replace(sql, m[0], "PULL", 1)))
	s.begun <- struct{}{}
	if s.unset {
		return nil, errSegment
	}
	session := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.cancels:
			cancel(errUser)
		case <-ctx.Done():
		}
	}()
	if s.quiet && s.stuck {
		<-session.Done()
		return []Result{{Tag: "SAVEPOINT"}}, context.Cause(session)
	}
	if s.quiet {
		<-ctx.Done()
		return []Result{{Tag: "SAVEPOINT"}}, context.Cause(ctx)
	}
	var wg sync.WaitGroup
	for i := range s.n {
		wg.Go(func() {
			if err := s.pull(ctx, "http"+m[1], i); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if s.hang {
		<-ctx.Done()
	}
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, errLost
		}
		return []Result{{Tag: "SAVEPOINT"}}, err
	}
	return []Result{{Tag: "SAVEPOINT"}, {Tag: "OPEN"}, {Tag: fmt.Sprintf("INSERT 0 %d", len(s.lines)-s.lose), Notices: [][]byte{{1}}}, {Tag: "CLOSE"}}, nil
}

// pull is one segment. Its error is the statement's.
func (s *segments) pull(ctx context.Context, url string, id int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for name, v := range map[string]string{"PROTO": "1", "XID": "1", "CID": "1", "SN": "1", "SEGMENT-ID": fmt.Sprint(id), "SEGMENT-COUNT": fmt.Sprint(s.n)} {
		r.Header.Set("X-GP-"+name, v)
	}
	client := http.Client{Transport: &http.Transport{}} // its connection ends with the answer
	resp, err := client.Do(r)
	if err != nil {
		return pgerr.New("08006", "%s", err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	line := int64(0)
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return pgerr.New("08006", "gpfdist error: %s", err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, body); err != nil {
			return pgerr.New("08006", "gpfdist error: %s", err)
		}
		switch head[0] {
		case 'L':
			line = int64(binary.BigEndian.Uint64(body))
		case 'E':
			return pgerr.New("08006", "gpfdist error - %s", body)
		case 'D':
			if len(body) == 0 {
				return nil
			}
			if err := s.take(line, string(body)); err != nil {
				return err
			}
		}
	}
}

var errSegment = pgerr.New("57P02", "segment is gone")

func (s *segments) take(line int64, rows string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range strings.Split(strings.TrimSuffix(rows, "\n"), "\n") {
		s.lines[line] = text
		line++
	}
	if s.fail > 0 && len(s.lines) >= s.fail {
		return s.err
	}
	if s.leave > 0 && len(s.lines) >= s.leave {
		return errSegment
	}
	return nil
}

// pullBed is a loader whose server has two segments.
func pullBed(t *testing.T) (*bed, *segments) { return pullBedFor(t, 0) }

// pullBedFor is one with a certain patience.
func pullBedFor(t *testing.T, patience time.Duration) (*bed, *segments) {
	b := newBed(t)
	srv, err := gpfdist.Listen(gpfdist.Config{Listen: "127.0.0.1:0", Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	b.Loader.pull, b.Loader.engineOf = srv, always(pullEngine{})
	b.spec.Decision.Method = rewrite.MethodPull
	return b, &segments{fakeSession: b.sess, n: 2, lines: map[int64]string{}, begun: make(chan struct{}, 1)}
}

func (b *bed) beginOn(t *testing.T, s Session) *Load {
	t.Helper()
	ld, err := b.Begin(t.Context(), b.spec, s)
	if err != nil {
		t.Fatal(err)
	}
	return ld
}

// wantLines: each line once, under its own number.
func (s *segments) wantLines(t *testing.T, first, n int64) {
	t.Helper()
	if int64(len(s.lines)) != n {
		t.Errorf("%d lines were pulled, not %d", len(s.lines), n)
	}
	for at, text := range s.lines {
		if want := fmt.Sprintf("line %04d", at-first+1); text != want {
			t.Errorf("line %d is %q, not %q", at, text, want)
		}
	}
}

const pulled = "SAVE; OPEN; PULL; CLOSE"

func TestPull(t *testing.T) {
	t.Parallel()
	b, s := pullBed(t)
	ld := b.beginOn(t, s)
	if err := ld.writeLines(1001); err != nil {
		t.Fatal(err)
	}
	n, err := ld.Finish(t.Context(), CopyDone())
	if err != nil || n != 1001 {
		t.Errorf("%d rows, %v", n, err)
	}
	s.wantLines(t, 1, 1001)
	if got := b.sess.history(); !strings.HasPrefix(got, pulled+"\nRELEASE; SAVE; RECORD; ") || !strings.HasSuffix(got, "RELEASE\nCOMMIT") {
		t.Errorf("on the session ran\n%s", got)
	}
	if b.sess.notified != 1 {
		t.Errorf("%d notices", b.sess.notified)
	}
	b.end(t)
}

// TestPullWithoutHeader: it is no row, but a line.
func TestPullWithoutHeader(t *testing.T) {
	t.Parallel()
	b, s := pullBed(t)
	b.spec.Statement.Format, b.spec.Statement.Quote, b.spec.Statement.Escape = rewrite.FormatCSV, '"', '"'
	b.spec.Statement.Header, b.spec.Statement.HeaderLines = true, 1
	ld := b.beginOn(t, s)
	if err := ld.Write([]byte("\"a\nheader\"\n")); err != nil {
		t.Fatal(err)
	}
	if err := ld.writeLines(100); err != nil {
		t.Fatal(err)
	}
	n, err := ld.Finish(t.Context(), CopyDone())
	if err != nil || n != 100 {
		t.Errorf("%d rows, %v", n, err)
	}
	s.wantLines(t, 2, 100) // as COPY counts: it has not seen how lines end
	b.end(t)
}

// TestPullEmpty: no row, no statement.
func TestPullEmpty(t *testing.T) {
	t.Parallel()
	b, s := pullBed(t)
	ld := b.beginOn(t, s)
	if n, err := ld.Finish(t.Context(), CopyDone()); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
	b.want(t, "SAVE; RECORD; RELEASE", "COMMIT")
	b.end(t)
}

// TestPullGoesNative: whatever fails, all rows go through the client's COPY, once.
func TestPullGoesNative(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bed, *segments){
		"another count":                func(_ *bed, s *segments) { s.lose = 1 },
		"bad row":                      func(_ *bed, s *segments) { s.fail, s.err = 30, pgerr.New("22P02", "bad") },
		"segment dies":                 func(_ *bed, s *segments) { s.leave = 30 },
		"segment dies at once":         func(_ *bed, s *segments) { s.leave = 1 },
		"gpfdist is unreachable":       func(b *bed, _ *segments) { b.Loader.pull.Close() },
		"no plan":                      func(b *bed, _ *segments) { b.Loader.engineOf = always(pullEngine{fakeEngine{engine.ErrUnsupported}}) },
		"segment dies without a store": func(b *bed, s *segments) { s.leave, b.store.putErr = 30, errors.New("no store") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, s := pullBed(t)
			change(b, s)
			ld := b.beginOn(t, s)
			if err := ld.writeLines(100); err != nil {
				t.Fatal(err)
			}
			n, err := ld.Finish(t.Context(), CopyDone())
			if err != nil || n != 100 {
				t.Errorf("%d rows, %v", n, err)
			}
			if got := b.sess.copied.String(); got != string(lines(100)) {
				t.Errorf("through the COPY went %q", got)
			}
			if got := b.sess.history(); !strings.Contains(got, "\nCOPY: copy t from stdin\n") && !strings.HasPrefix(got, "COPY: copy t from stdin\n") {
				t.Errorf("on the session ran\n%s", got)
			}
			b.end(t)
		})
	}
}

// TestPullCancel: it reaches the statement, and then the COPY, whose error is the
// client's.
func TestPullCancel(t *testing.T) {
	t.Parallel()
	for _, quiet := range []bool{false, true} {
		b, s := pullBed(t)
		s.quiet = quiet
		ld := b.beginOn(t, s)
		if err := ld.writeLines(8); err != nil {
			t.Fatal(err)
		}
		<-s.begun
		ld.Cancel()
		err := ld.writeLines(1000)
		if err == nil {
			_, err = ld.Finish(t.Context(), CopyDone())
		} else {
			err = ld.Fail(t.Context(), err)
		}
		if e := pgerr.As(err); e == nil || e.Code() != pgerr.QueryCanceled {
			t.Errorf("the load ended with %v", err)
		}
		if got := b.sess.history(); !strings.Contains(got, "\nBACK; RELEASE\n") || !strings.HasSuffix(got, "ROLLBACK") {
			t.Errorf("on the session ran\n%s", got)
		}
		b.end(t)
	}
}

// TestPullAbort: nothing stays, whoever waits.
func TestPullAbort(t *testing.T) {
	t.Parallel()
	for _, quiet := range []bool{false, true} {
		b, s := pullBed(t)
		s.quiet = quiet
		ld := b.beginOn(t, s)
		if err := ld.writeLines(8); err != nil {
			t.Fatal(err)
		}
		ld.Abort()
		b.end(t)
	}
}

// TestPullClientFails: what ends the data otherwise is put before the server.
func TestPullClientFails(t *testing.T) {
	t.Parallel()
	b, s := pullBed(t)
	ld := b.beginOn(t, s)
	if err := ld.writeLines(99); err != nil {
		t.Fatal(err)
	}
	_, err := ld.Finish(t.Context(), Frame{Type: 'f', Body: []byte("no\x00")})
	if e := pgerr.As(err); e == nil || e.Code() != pgerr.QueryCanceled {
		t.Errorf("the load ended with %v", err)
	}
	if got := b.sess.copied.String(); got != string(lines(99)) {
		t.Errorf("through the COPY went %q", got)
	}
	b.end(t)
}

// Open implements store.Store: loads that began to be pulled are read back.
func (k *keep) Open(_ context.Context, key string) (io.ReadCloser, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.objects[key]
	if !ok {
		return nil, errors.New("no such object")
	}
	return io.NopCloser(bytes.NewReader(p)), nil
}

// TestPullUnset: where the savepoint itself fails, nobody goes back to it, and the
// error is the first one.
func TestPullUnset(t *testing.T) {
	t.Parallel()
	b, s := pullBed(t)
	b.spec.InBlock, s.unset = true, true
	ld := b.beginOn(t, s)
	err := ld.writeLines(1001)
	if err == nil {
		_, err = ld.Finish(t.Context(), CopyDone())
	} else {
		err = ld.Fail(t.Context(), err)
	}
	if e := pgerr.As(err); e == nil || e.Code() != errSegment.Code() {
		t.Error(err)
	}
	if got := b.sess.history(); got != pulled {
		t.Errorf("on the session ran\n%s", got)
	}
}

// TestPullStalls: segments that take no rows send the load through the COPY; a server
// that does not end the statement even so is given up, and the client is told.
func TestPullStalls(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bed, *segments){
		"statement ends": func(*bed, *segments) {},
		"it does not":    func(_ *bed, s *segments) { s.stuck = true },
		"in a block":     func(b *bed, s *segments) { s.stuck, b.spec.InBlock = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, s := pullBedFor(t, 20*time.Millisecond)
			s.quiet = true
			change(b, s)
			ld := b.beginOn(t, s)
			err := ld.writeLines(100)
			var n int64
			if err == nil {
				n, err = ld.Finish(t.Context(), CopyDone())
			} else {
				err = ld.Fail(t.Context(), err)
			}
			e := pgerr.As(err)
			switch {
			case !s.stuck && (err != nil || n != 100 || b.sess.copied.String() != string(lines(100))):
				t.Errorf("%d rows, %v; through the COPY went %q", n, err, b.sess.copied.String())
			case s.stuck && (e == nil || e.Code() != pgerr.ConnectionFailure || !errors.Is(err, ErrSessionLost)):
				t.Errorf("the load ended with %v", err)
			}
			b.end(t)
		})
	}
}

// TestPullStallsAtTheEnd: it has read all rows, or none is left to be read.
func TestPullStallsAtTheEnd(t *testing.T) {
	t.Parallel()
	b, s := pullBedFor(t, 300*time.Millisecond)
	s.hang = true
	ld := b.beginOn(t, s)
	if err := ld.writeLines(100); err != nil {
		t.Fatal(err)
	}
	if n, err := ld.Finish(t.Context(), CopyDone()); err != nil || n != 100 {
		t.Errorf("%d rows, %v", n, err)
	}
	if got := b.sess.copied.String(); got != string(lines(100)) {
		t.Errorf("through the COPY went %q", got)
	}
	b.end(t)
}
