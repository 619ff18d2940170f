package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// injector runs statements of the proxy's own on the session's upstream
// connection. It holds the server pump's output for as long as it lives, so
// the reply queue must be idle when it starts and is idle when it ends.
type injector struct {
	s   *session
	c   *capture
	out []byte // reused for small frames
	// cancels are the cancel requests under way; none starts once released.
	mu       sync.Mutex
	released bool
	cancels  sync.WaitGroup
}

// inject starts an injector. The caller has waited for the queue to be idle,
// and calls release when it is done.
func (s *session) inject() *injector {
	in := &injector{s: s, c: &capture{frames: make(chan captured, 64)}}
	s.mu.Lock()
	s.capture = in.c
	s.mu.Unlock()
	return in
}

// release ends the injector: from here on the server's frames are relayed. It
// waits for cancel requests under way: one that came late must not hit the
// client's next statement. Where the session has ended the frames stay captured:
// they may answer a statement of ours.
func (in *injector) release() {
	in.mu.Lock()
	in.released = true
	in.mu.Unlock()
	in.cancels.Wait()
	in.s.mu.Lock()
	if in.s.ctx.Err() == nil {
		in.s.capture = nil
	}
	in.s.mu.Unlock()
}

// next returns the next frame that answers us.
func (in *injector) next(ctx context.Context) (captured, error) {
	select {
	case f := <-in.c.frames:
		return f, nil
	default:
	}
	select {
	case f := <-in.c.frames:
		return f, nil
	case <-in.s.ctx.Done():
	case <-ctx.Done():
	}
	select {
	case f := <-in.c.frames:
		return f, nil // it came before the end
	default:
	}
	if in.s.ctx.Err() != nil {
		ctx = in.s.ctx
	}
	return captured{}, context.Cause(ctx)
}

// errTooManyNotices ends a statement of ours that floods the proxy.
var errTooManyNotices = errors.New("too many notices in an injected statement")

const maxNotices = 1000

// Exec implements bulk.Session.
func (in *injector) Exec(ctx context.Context, sql string) ([]bulk.Result, error) {
	in.out = frame.AppendString(in.out[:0], 'Q', sql)
	if err := in.s.writeServer(in.out); err != nil {
		return nil, fmt.Errorf("write to server: %w", err)
	}
	var results []bulk.Result
	var cur bulk.Result
	var failed error
	for {
		f, err := in.next(ctx)
		if err != nil {
			return results, err
		}
		switch f.typ {
		case 'D':
			cur.Rows = append(cur.Rows, dataRow(f.body))
		case 'N':
			if len(cur.Notices) < maxNotices {
				cur.Notices = append(cur.Notices, f.body)
			} else if failed == nil {
				failed = errTooManyNotices
			}
		case 'C':
			tag, _, _ := frame.CString(f.body)
			cur.Tag = string(tag)
			results = append(results, cur)
			cur = bulk.Result{}
		case 'E':
			failed = pgerr.Parse(f.body)
		case 'Z':
			in.ready(f.body)
			return results, failed
		}
	}
}

func (in *injector) ready(body []byte) { in.s.ready(body) }

// ready notes the ReadyForQuery of a statement of ours.
func (s *session) ready(body []byte) {
	if len(body) == 1 {
		s.mu.Lock()
		s.status = body[0]
		s.mu.Unlock()
	}
}

// dataRow splits a DataRow. Lengths that do not fit end it: the server's bytes
// are untrusted too.
func dataRow(p []byte) [][]byte {
	if len(p) < 2 {
		return nil
	}
	n := int(p[0])<<8 | int(p[1])
	p = p[2:]
	row := make([][]byte, 0, min(n, 64))
	for range n {
		if len(p) < 4 {
			return row
		}
		size := int(int32(uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])))
		p = p[4:]
		if size < 0 {
			row = append(row, nil)
			continue
		}
		if size > len(p) {
			return row
		}
		row = append(row, p[:size:size])
		p = p[size:]
	}
	return row
}

// Notify implements bulk.Session.
func (in *injector) Notify(notices [][]byte) error {
	var out []byte
	for _, n := range notices {
		out = frame.Append(out, 'N', n)
	}
	if len(out) == 0 {
		return nil
	}
	return in.s.writeClient(out)
}

// Cancel implements bulk.Session.
func (in *injector) Cancel() {
	in.mu.Lock()
	if in.released {
		in.mu.Unlock()
		return
	}
	in.cancels.Add(1)
	in.mu.Unlock()
	defer in.cancels.Done()
	in.s.srv.forwardCancel(in.s.ctx, in.s.est)
}

// StartCopy implements bulk.Session.
func (in *injector) StartCopy(ctx context.Context, sql string) (bulk.Copy, error) {
	in.c.notices.Store(true)
	in.out = frame.AppendString(in.out[:0], 'Q', sql)
	if err := in.s.writeServer(in.out); err != nil {
		return nil, fmt.Errorf("write to server: %w", err)
	}
	c := &copyIn{in: in}
	for {
		f, err := in.next(ctx)
		if err != nil {
			return nil, err
		}
		if f.typ == 'G' {
			return c, nil
		}
		if done := c.reply(f); done {
			if c.failed == nil {
				return nil, errors.New("COPY ended without data")
			}
			return nil, &bulk.StartError{Completed: c.completed, Err: c.failed}
		}
	}
}

// copyIn is a COPY … FROM STDIN that the server has agreed to.
type copyIn struct {
	in     *injector
	failed error
	rows   int64
	over   bool
	// completed statements, of those that were sent together.
	completed int
}

// maxCopyData is the size of the CopyData messages that we make.
const maxCopyData = 128 << 10

// Write implements bulk.Copy.
func (c *copyIn) Write(p []byte) error {
	for len(p) > 0 {
		if err := c.poll(); err != nil {
			return err
		}
		n := min(len(p), maxCopyData)
		var head [frame.HeaderLen]byte
		bufs := net.Buffers{frame.AppendHead(head[:0], 'd', n), p[:n]}
		if _, err := bufs.WriteTo(c.in.s.server); err != nil {
			return fmt.Errorf("write to server: %w", err)
		}
		p = p[n:]
	}
	return c.poll()
}

// poll takes the replies that are there. The server sends none before the end
// of the data but notices and an error; after an error it sends ReadyForQuery
// at once, since this is the simple protocol.
func (c *copyIn) poll() error {
	for !c.over {
		select {
		case f := <-c.in.c.frames:
			if f.typ == 'E' {
				c.reply(f)
				return c.drain(context.Background())
			}
			c.reply(f)
		default:
			if c.in.s.ctx.Err() != nil {
				return context.Cause(c.in.s.ctx)
			}
			return nil
		}
	}
	return c.failed
}

// drain reads to the ReadyForQuery.
func (c *copyIn) drain(ctx context.Context) error {
	for !c.over {
		f, err := c.in.next(ctx)
		if err != nil && c.failed != nil {
			return c.failed // it came before the end of the session
		}
		if err != nil {
			return err
		}
		c.over = c.reply(f)
	}
	return c.failed
}

// reply notes one frame and says whether it was the last.
func (c *copyIn) reply(f captured) (last bool) {
	switch f.typ {
	case 'E':
		if c.failed == nil {
			c.failed = pgerr.Parse(f.body)
		}
	case 'C':
		tag, _, _ := frame.CString(f.body)
		c.rows = tagCount(string(tag))
		c.completed++
	case 'Z':
		c.in.ready(f.body)
		c.in.c.notices.Store(false)
		c.over = true
		return true
	}
	return false
}

// End implements bulk.Copy.
func (c *copyIn) End(ctx context.Context, end bulk.Frame) (int64, error) {
	if err := c.poll(); err != nil || c.over {
		return 0, err
	}
	out := end.Raw
	if out == nil {
		out = frame.Append(nil, end.Type, end.Body)
	}
	if err := c.in.s.writeServer(out); err != nil {
		return 0, fmt.Errorf("write to server: %w", err)
	}
	if err := c.drain(ctx); err != nil {
		return 0, err
	}
	return c.rows, nil
}

// tagCount returns the last number of a command tag, or 0.
func tagCount(tag string) int64 {
	i := strings.LastIndexByte(tag, ' ')
	n, err := strconv.ParseInt(tag[i+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
