package frame

import "sync"

// maxPooled bounds the buffers that are kept: longer ones are rare.
const maxPooled = 8 << 20

// Pool keeps the buffers of Readers that held a long frame or run of frames, for
// the next one that needs as much: without it a client's batches, one after the
// other, would each leave some megabytes to the garbage collector. The zero value
// is ready, and a nil Pool keeps nothing.
type Pool struct{ buffers sync.Pool }

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
