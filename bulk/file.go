package bulk

import (
	"context"
	"fmt"
	"hash/crc32"
	"sync/atomic"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// file is one piece of a load, cut at a row boundary. Its bytes have two
// owners, the upload and the loader; each calls held.release once.
type file struct {
	number int
	held   *held
	// head and tail are how many bytes at the ends of held are decoration of
	// the file in the store, and no part of the client's data.
	head, tail int
	// binaryHeader is the header that the client sent, for a native COPY.
	binaryHeader []byte
	// eol is how lines end, for files after the first.
	eol string
	// before is the position in the client's data where this file begins.
	before rows.Position
	rows   int64
	// bytes is the size of a file whose bytes are not held any more.
	bytes int64
	// let: the loader has given up its claim on held.
	let bool
	// blocks are where a segment's part may end, for MethodPull; reading is how many
	// of them are not written yet.
	blocks  []blockEnd
	reading *atomic.Int64
	// raw: where its rows end is not known; it can only be put before the
	// server in a COPY.
	raw bool

	// tolerated: its bad rows are skipped; loaded is how many are in. external: the
	// server has read it itself.
	tolerated, external bool
	loaded              int64

	// checked: it was looked through; misfit is why it can't be transcoded.
	checked bool
	misfit  error

	// binary is the size of the object where it is COPY binary made of held.
	binary int64

	key     string
	created time.Time
	crc     uint32
	// uploaded is closed when the upload has ended; then upErr says how.
	uploaded chan struct{}
	upErr    error
}

// size is that of the object.
func (f *file) size() int64 {
	if f.binary > 0 {
		return f.binary
	}
	if f.held == nil || f.let {
		return f.bytes
	}
	return f.held.Size()
}

// free gives up both claims, for a file that nobody was given.
func (f *file) free() {
	f.held.release()
	f.held.release()
}

// key returns where a file lies: fixed here, and stored in the ledger.
func (ld *Load) key(f *file) string {
	format := ld.spec.Statement.Format
	if f.binary > 0 {
		format = rewrite.FormatBinary
	}
	ext := map[rewrite.Format]string{rewrite.FormatCSV: "csv", rewrite.FormatBinary: "bin"}[format]
	if ext == "" {
		ext = "txt"
	}
	if ld.engine.Caps().Parallel {
		return fmt.Sprintf("%s/%04d/%05d.%s", ld.folder, ld.groups.of(f.number), f.number, ext)
	}
	return fmt.Sprintf("%s/%05d.%s", ld.l.folder(f.created, ld.id), f.number, ext)
}

// folder returns where the files of a load lie.
func (l *Loader) folder(at time.Time, id string) string {
	prefix := ""
	if l.prefix != nil {
		if p := l.prefix(); p != "" {
			prefix = p + "/"
		}
	}
	return prefix + at.UTC().Format("2006-01-02") + "/" + id
}

// start begins the upload of a file, on a goroutine that closes f.uploaded.
func (ld *Load) start(f *file) {
	f.created = time.Now()
	if f.raw || ld.noUploads.Load() {
		f.upErr = errNotStaged
		f.held.release()
		close(f.uploaded)
		return
	}
	ld.uploads.Add(1)
	go func() {
		defer ld.uploads.Done()
		defer close(f.uploaded)
		defer f.held.release()
		object := ld.encode(f)
		if object == nil {
			object = f.held
		} else {
			defer object.release()
		}
		f.key = ld.key(f)
		ld.await(ld.books.wrote(f))
		f.upErr = ld.put(f, object)
	}()
}

// createPatience is how long an upload waits for the ledger to know of it.
const createPatience = time.Second

// await waits for the ledger, but no longer than a ledger takes that works.
func (ld *Load) await(known <-chan struct{}) {
	patience := time.NewTimer(createPatience)
	defer patience.Stop()
	select {
	case <-known:
	case <-patience.C:
	case <-ld.ctx.Done():
	}
}

// errNotStaged says that a file is only in memory.
var errNotStaged = fmt.Errorf("file is not staged")

// summed is a file's content with its checksum, for the store.
type summed struct {
	*held
	crc uint32
}

// CRC32C implements store.Summed.
func (s summed) CRC32C() uint32 { return s.crc }

func (ld *Load) put(f *file, object *held) error {
	if err := ld.upload.Acquire(ld.ctx, 1); err != nil {
		return fmt.Errorf("wait for upload: %w", err)
	}
	defer ld.upload.Release(1)
	if err := ld.l.puts.acquire(ld.ctx, ld.spec.Owner); err != nil {
		return fmt.Errorf("wait for upload: %w", err)
	}
	defer ld.l.puts.release(ld.spec.Owner, 1)
	if ld.noUploads.Load() {
		return errNotStaged
	}
	began := time.Now()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_ = object.each(0, object.Size(), func(p []byte) error { return ld.turn(func() { _, _ = sum.Write(p) }) }) // a hash does not fail; any other error shows in Put
	f.crc = sum.Sum32()
	err := ld.l.store.Put(ld.ctx, f.key, summed{object, f.crc})
	if err != nil {
		// One failure a load: files are uploaded side by side.
		if ld.ctx.Err() == nil && ld.noUploads.CompareAndSwap(false, true) {
			ld.l.storeBreaker.Failure()
			ld.log.Warn("stage file, going on natively", "file", f.number, "bytes", object.Size(), "error", err)
		}
		return fmt.Errorf("stage file %d: %w", f.number, err)
	}
	ld.l.storeBreaker.Success()
	ld.l.metrics.phase(phaseUpload, time.Since(began))
	ld.l.metrics.bytes(legStore, int(object.Size()))
	ld.books.frozen(checkpoint.File{
		ProcessID: ld.id, Number: f.number, Key: f.key, URL: ld.l.urls.URL(f.key),
		Records: f.rows, Bytes: object.Size(), CRC32C: f.crc, Created: f.created,
	})
	return nil
}

// presign returns the URL by which the server reads a file. It is a secret.
func (ld *Load) presign(ctx context.Context, f *file) (string, error) {
	url, err := ld.l.store.PresignGet(ctx, f.key, ld.l.cfg.URLTTL)
	if err != nil {
		return "", fmt.Errorf("sign url of file %d: %w", f.number, err)
	}
	return url, nil
}
