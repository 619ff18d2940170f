package store

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// errReturned is what a late reader of a Put's content gets.
var errReturned = errors.New("the upload is over")

// guard stands between a Put's content and the HTTP client. It keeps the promise
// that nothing is read after Put returned, which the HTTP client alone does not:
// it may read a cancelled request's body a little longer. And it ends the Put at
// once when the content cannot be read, instead of trying again.
type guard struct {
	content Content
	fail    context.CancelCauseFunc

	mu      sync.RWMutex // read-held while the content is read
	revoked bool
	sent    atomic.Bool // the last byte was handed out
}

// ReadAt reads the content. Less than was asked for is an error: sections never
// reach beyond the size that the content gave.
func (g *guard) ReadAt(p []byte, off int64) (int, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.revoked {
		return 0, errReturned
	}
	n, err := g.content.ReadAt(p, off)
	if n == len(p) {
		if off+int64(n) == g.content.Size() {
			g.sent.Store(true)
		}
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	err = fmt.Errorf("read content at byte %d: %w", off+int64(n), err)
	g.fail(err)
	return n, err
}

// section is a body for one request, which can be rewound for another attempt.
func (g *guard) section(off, size int64) *io.SectionReader {
	return io.NewSectionReader(g, off, size)
}

// stop refuses later reads, unless the last byte was handed out already. A
// request whose body ends early never takes effect.
func (g *guard) stop() (stopped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sent.Load() || g.content.Size() == 0 {
		return false
	}
	g.revoked = true
	return true
}

// revoke waits for reads in progress and refuses later ones.
func (g *guard) revoke() {
	g.mu.Lock()
	g.revoked = true
	g.mu.Unlock()
}

// checksum is the checksum of content that knows it, as S3 writes it.
func checksum(c Content) *string {
	known, ok := c.(Summed)
	if !ok {
		return nil
	}
	sum := binary.BigEndian.AppendUint32(nil, known.CRC32C())
	return aws.String(base64.StdEncoding.EncodeToString(sum))
}
