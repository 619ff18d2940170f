package embedded

import (
	"strings"
	"sync"
)

// parts knows what is being done with uploads in parts. The library makes an
// upload's directory anew for a part that ends behind the upload's abort: who
// aborted it would find it among the uploads once more.
type parts struct {
	mu      sync.Mutex
	uploads map[string]*underway
}

// underway is an upload of which parts are being received, or which is being
// aborted.
type underway struct {
	users   int
	aborted bool
}

// begin notes that a part of an upload comes, or its abort; end must follow.
func (p *parts) begin(upload string, abort bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.uploads == nil {
		p.uploads = make(map[string]*underway)
	}
	u := p.uploads[upload]
	if u == nil {
		u = &underway{}
		p.uploads[strings.Clone(upload)] = u // the server's texts live as long as their request
	}
	u.users++
	u.aborted = u.aborted || abort
}

func (p *parts) end(upload string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.uploads[upload]
	if u.users--; u.users == 0 {
		delete(p.uploads, upload)
	}
}

// aborted says whether an upload was aborted, and may still have a directory.
func (p *parts) aborted(upload string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.uploads[upload]
	return u != nil && u.aborted
}
