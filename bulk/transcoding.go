package bulk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/semaphore"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// errMisfit says that a file has no COPY binary that is surely the same.
var errMisfit = errors.New("file does not fit")

// turningLimits are those of one load. The chunks of all workers, one that is being
// read and one that is being sent have room.
func turningLimits(workers int) transcode.Limits {
	l := transcode.Limits{Workers: max(workers, 1), Slots: semaphore.NewWeighted(int64(max(workers, 1)))}
	l.Memory = int64(l.Workers+2) * turnedChunk * (1 + transcode.MaxGrowth)
	return l
}

// copyTranscoded sends the rows of a file, behind a savepoint. Where they can't be
// sent to their end, it has the server end the COPY with an error; what is known
// not to fit is not sent at all.
func (ld *Load) copyTranscoded(f *file) (int64, error) {
	t := &ld.run.transcoded
	if t.draws && !f.checked {
		ld.check(f, t.turns)
	}
	if f.misfit != nil {
		return 0, f.misfit
	}
	p := ld.pieces(f)
	return ld.copyBehind(t.sql, func(c Copy) error {
		err := c.Write([]byte(transcode.Header))
		if err == nil {
			err = transcode.Ordered(ld.ctx, t.turns, ld.turningLimits(), p.next, func(_ context.Context, b transcode.Block) error {
				ld.l.metrics.bytes(legServer, len(b.Data))
				return p.sent(b.Chunk, c.Write(b.Data))
			})
		}
		if isMisfit(err) {
			ld.log.Debug("file not transcoded", "file", f.number, "error", err)
			_, end := c.End(ld.ctx, Frame{Type: 'f', Body: []byte("not transcoded\x00")})
			if e := pgerr.As(end); e == nil || e.IsFatal() {
				return end
			}
			err = fmt.Errorf("%w: %w", errMisfit, err) // and not the server's 57014
		}
		return err
	})
}

func isMisfit(err error) bool {
	var fallback *transcode.Fallback
	return errors.As(err, &fallback) || errors.Is(err, rows.ErrIrregular) || errors.Is(err, errMisfit)
}

// check looks a file through. The producer does so while the server loads the file
// before.
func (ld *Load) check(f *file, t *transcode.Transcoder) {
	f.checked = true
	p := ld.pieces(f)
	err := transcode.Ordered(ld.ctx, t, ld.turningLimits(), p.next, func(_ context.Context, b transcode.Block) error { return p.sent(b.Chunk, nil) })
	if err != nil {
		f.misfit = fmt.Errorf("%w: %w", errMisfit, err)
	}
}

// pieces gives the rows of a file in chunks, for transcode.Ordered: its blocks.
type pieces struct {
	held    *held
	blocks  []blockEnd
	at, to  int64
	longest int64
	spare   chan []byte
}

// pieces begins behind the header line.
func (ld *Load) pieces(f *file) *pieces {
	from := int64(f.head)
	if f.number == 1 && ld.spec.scanOptions().HeaderLines > 0 {
		if from, _ = ld.headerEnd(f); from < 0 {
			from = f.held.Size()
		}
	}
	return &pieces{
		held: f.held, blocks: f.blocks, at: from, to: f.held.Size() - int64(f.tail),
		longest: ld.l.turning.Memory / (1 + transcode.MaxGrowth), spare: make(chan []byte, ld.l.turning.Workers+2),
	}
}

// next returns whole rows. Those of a block that is longer than the memory allows do
// not fit.
func (p *pieces) next(context.Context) ([]byte, error) {
	for len(p.blocks) > 0 && p.blocks[0].off <= p.at {
		p.blocks = p.blocks[1:] // the header line alone
	}
	if len(p.blocks) == 0 {
		return nil, io.EOF
	}
	n := min(p.blocks[0].off, p.to) - p.at
	if n > p.longest {
		return nil, errMisfit
	}
	chunk := slices.Grow(p.buffer(), int(n))[:n]
	if _, err := p.held.ReadAt(chunk, p.at); err != nil {
		return nil, fmt.Errorf("%w: %w", errMisfit, err) // the COPY under way has to end
	}
	p.at += n
	return chunk, nil
}

func (p *pieces) buffer() []byte {
	select {
	case b := <-p.spare:
		return b[:0]
	default:
		return make([]byte, 0, turnedChunk)
	}
}

// sent takes back the buffer of a chunk, and passes on how that went.
func (p *pieces) sent(chunk []byte, err error) error {
	select {
	case p.spare <- chunk:
	default:
	}
	return err
}
