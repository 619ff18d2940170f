package frame

import "sync"

// maxPooled bounds the buffers that are kept: longer ones are rare.
const maxPooled = 8 << 20

// Pool keeps long buffers, those of Readers that held a long frame or run of frames
// first of all, for the next one that needs as much: without it a client's batches,
// one after the other, would each leave some megabytes to the garbage collector. The
// zero value is ready, and a nil Pool keeps nothing. It has the buffers of Readers that
// rest, too: most sessions are idle most of the time.
type Pool struct{ buffers, small sync.Pool }

// least returns a buffer of the least size.
func (p *Pool) least() []byte {
	if p != nil {
		if b, ok := p.small.Get().(*[minBuffer]byte); ok {
			return b[:]
		}
	}
	return make([]byte, minBuffer)
}

// get returns a buffer of at least n bytes.
func (p *Pool) get(n int) []byte {
	if p != nil && maxBuffer < n && n <= maxPooled {
		if b, ok := p.buffers.Get().(*[]byte); ok && len(*b) >= n {
			return *b
		}
	}
	return make([]byte, n)
}

func (p *Pool) put(b []byte) {
	if p != nil && len(b) <= maxPooled {
		p.buffers.Put(&b)
	}
}

// Lengths that Grow asks for: at first small, then at once one that the pool keeps.
const (
	smallGrown = 64 << 10
	longGrown  = 2 * maxBuffer
)

// Grow returns b with room for n more bytes. Where it has to be another buffer, b
// must not be used any more.
func (p *Pool) Grow(b []byte, n int) []byte {
	need := len(b) + n
	if need <= cap(b) {
		return b
	}
	size := smallGrown
	for next := longGrown; size < need; next *= 2 {
		size = next
	}
	bigger := append(p.get(size)[:0], b...)
	p.Give(b)
	return bigger
}

// Give takes a buffer back, if it is worth keeping.
func (p *Pool) Give(b []byte) {
	if cap(b) > maxBuffer {
		p.put(b[:cap(b)])
	}
}
