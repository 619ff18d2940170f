package bulk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// slabSize is the unit in which staged data is kept and accounted for. Smaller
// slabs waste calls, larger ones waste memory on small files.
const slabSize = 256 << 10

// ErrNoMemory says that the memory budget is used up and local files are off.
var ErrNoMemory = errors.New("staging memory (stage.memory_bytes) is used up and stage.spool is off")

// Memory is the budget for staged data that all loads of a proxy share, or one
// load's view of it.
type Memory struct {
	*budget
	who Owner
}

// budget is what all views have in common.
type budget struct {
	mu   sync.Mutex
	left int64
	free [][]byte
	dir  string
	// spool allows local files when the budget is used up.
	spool bool
	// size is all of it; shares is what each role and database has of it in files.
	size   int64
	shares *quota
}

// NewMemory returns a budget of so many bytes. Where spool is true, data beyond
// it goes to unlinked files in dir, or in the system's temporary directory if
// dir is empty.
func NewMemory(bytes int64, spool bool, dir string) *Memory {
	return &Memory{budget: &budget{left: bytes, size: bytes, spool: spool, dir: dir, shares: newQuota(Limit{})}}
}

// of returns the view of one owner.
func (m *Memory) of(who Owner) *Memory { return &Memory{m.budget, who} }

// take returns a slab, or nil when the budget is used up, or the owner's part.
func (m *Memory) take() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left < slabSize {
		m.shares.refuse()
		return nil
	}
	if !m.shares.try(m.who, slabSize) {
		return nil
	}
	m.left -= slabSize
	if n := len(m.free); n > 0 {
		s := m.free[n-1]
		m.free = m.free[:n-1]
		return s
	}
	return make([]byte, slabSize)
}

func (m *Memory) give(s []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += slabSize
	m.shares.release(m.who, slabSize)
	m.free = append(m.free, s)
}

// Reserve takes n bytes of the budget for memory that the caller has itself. It
// does not wait: false means that the budget is used up.
func (m *Memory) Reserve(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left < n {
		return false
	}
	m.left -= n
	return true
}

// Overdraw is Reserve for what can't be spooled, as files can: it may take half as
// much as the budget is beyond it, and files go to disk until that is made good.
func (m *Memory) Overdraw(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left-n < -m.size/2 {
		return false
	}
	m.left -= n
	return true
}

// Return gives back what Reserve or Overdraw took.
func (m *Memory) Return(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += n
}

// held is the content of one staged file: appended to by one goroutine, then
// read by several. It keeps bytes in slabs, and in an unlinked local file
// where no slab could be had.
type held struct {
	mem  *Memory
	segs []segment
	size int64
	disk *os.File
	refs refs
}

// segment is slabSize bytes of content: in memory, or on disk at the same
// offset as in the content.
type segment struct{ slab []byte }

func newHeld(mem *Memory, owners int) *held { return &held{mem: mem, refs: refs{n: owners}} }

// Append adds p at the end.
func (h *held) Append(p []byte) error {
	for len(p) > 0 {
		off := int(h.size % slabSize)
		if off == 0 && int(h.size/slabSize) == len(h.segs) {
			if err := h.extend(); err != nil {
				return err
			}
		}
		n := min(len(p), slabSize-off)
		if slab := h.segs[h.size/slabSize].slab; slab != nil {
			copy(slab[off:], p[:n])
		} else if _, err := h.disk.WriteAt(p[:n], h.size); err != nil {
			return fmt.Errorf("write spool file: %w", err)
		}
		h.size += int64(n)
		p = p[n:]
	}
	return nil
}

func (h *held) extend() error {
	slab := h.mem.take()
	if slab == nil {
		if !h.mem.spool {
			return ErrNoMemory
		}
		if err := h.openSpool(); err != nil {
			return err
		}
	}
	h.segs = append(h.segs, segment{slab})
	return nil
}

// openSpool makes the local file, already unlinked: it vanishes with the
// process, however that ends.
func (h *held) openSpool() error {
	if h.disk != nil {
		return nil
	}
	f, err := os.CreateTemp(h.mem.dir, "pgbulkproxy-spool-")
	if err != nil {
		return fmt.Errorf("create spool file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return fmt.Errorf("unlink spool file: %w", err)
	}
	h.disk = f
	return nil
}

// Truncate drops what lies behind n.
func (h *held) Truncate(n int64) { h.size = min(h.size, n) }

// Size implements store.Content.
func (h *held) Size() int64 { return h.size }

// ReadAt implements store.Content.
func (h *held) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) && off < h.size {
		at := off % slabSize
		n := int(min(int64(len(p)-done), slabSize-at, h.size-off))
		if slab := h.segs[off/slabSize].slab; slab != nil {
			copy(p[done:done+n], slab[at:])
		} else if _, err := h.disk.ReadAt(p[done:done+n], off); err != nil {
			return done, fmt.Errorf("read spool file: %w", err)
		}
		done += n
		off += int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// each calls fn with the content between from and to, in pieces that fn must
// not keep.
func (h *held) each(from, to int64, fn func([]byte) error) error {
	var buf []byte
	for from < to {
		at := from % slabSize
		n := min(slabSize-at, to-from)
		piece := h.segs[from/slabSize].slab
		if piece != nil {
			piece = piece[at : at+n]
		} else {
			if buf == nil {
				buf = make([]byte, slabSize)
			}
			piece = buf[:n]
			if _, err := h.ReadAt(piece, from); err != nil {
				return err
			}
		}
		if err := fn(piece); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// release gives up one owner's claim; the last one frees everything.
func (h *held) release() {
	if !h.refs.drop() {
		return
	}
	for _, s := range h.segs {
		if s.slab != nil {
			h.mem.give(s.slab)
		}
	}
	h.segs = nil
	if h.disk != nil {
		_ = h.disk.Close() // unlinked: nothing of it is left
	}
}

// refs counts owners.
type refs struct {
	mu sync.Mutex
	n  int
}

func (r *refs) drop() (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n--
	return r.n == 0
}
