package bulk

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// transcodes says that files of the load may go to the server as COPY binary, one
// by one. They go where an external table would be exact, and where nothing that
// a COPY could tell the client comes before it is known to succeed: a trigger's
// notices would come twice.
func (ld *Load) transcodes() bool {
	s, in := ld.spec.Statement, ld.spec.Inspection
	switch {
	case !ld.l.cfg.Transcode, ld.spec.Decision.Method != rewrite.MethodExternal, ld.spec.Decision.Ext.Asked(), ld.acknowledges(), ld.groups.size > 1:
		return false
	case in.Routed() || in.Spread || in.Triggers || in.SelfReference:
		return false
	case s.Format == rewrite.FormatBinary || s.Where || s.HeaderMatch || s.DefaultSet || s.OnError != "":
		return false
	}
	return in.CopyEncoding == "" || in.CopyEncoding == in.ClientEncoding
}

// prepareTranscoder asks the server what the columns are.
func (ld *Load) prepareTranscoder() error {
	if !ld.transcodes() {
		return nil
	}
	s, in := ld.spec.Statement, ld.spec.Inspection
	results, err := ld.sess.Exec(ld.ctx, setSavepoint+transcode.DescribeSQL(in.OID)+"; "+strings.TrimSuffix(releaseSavepoint, "; "))
	if pgerr.As(err) != nil {
		_, err := ld.sess.Exec(ld.ctx, rollbackSavepoint)
		return err
	}
	if err != nil || len(results) != 3 || len(results[1].Rows) != 1 {
		return err
	}
	cols, settings, err := transcode.Describe(results[1].Rows[0][0], in.Columns)
	if err != nil {
		return err
	}
	for i, name := range in.Columns {
		cols[i].ForceNull = s.ForceNullAll || slices.Contains(s.ForceNull, name)
		cols[i].ForceNotNull = s.ForceNotNullAll || slices.Contains(s.ForceNotNull, name)
	}
	format := transcode.Format{CSV: s.Format == rewrite.FormatCSV, Delimiter: s.Delimiter, Quote: s.Quote, Escape: s.Escape, Null: s.Null}
	ld.run.transcoder, err = transcode.New(cols, format, settings)
	if err != nil {
		ld.log.Debug("not transcoded", "error", err)
	}
	return nil
}

// tryTranscoded loads a file by a COPY of its rows in binary, behind a savepoint.
// It answers false where the rest has to go natively, as tryExternal does. The
// file's upload goes on beside it: whether it fails is no matter.
func (ld *Load) tryTranscoded(f *file) (bool, error) {
	if f.raw {
		return false, ld.fallBack(rewrite.ReasonIrregular)
	}
	if ld.isStopped() {
		return false, ld.stopExternal(nil)
	}
	began := time.Now()
	n, err := ld.copyTranscoded(f)
	switch {
	case err == nil && n == f.rows:
		ld.run.files++
		ld.run.rows += n
		f.external = true
		ld.run.copied = append(ld.run.copied, f)
		ld.l.metrics.phase(phaseLoad, time.Since(began))
		ld.log.Debug("file transcoded", "file", f.number, "rows", n)
		return true, ld.awaitUpload(f) // so that memory stays bounded
	case ld.isStopped():
		return false, ld.stopExternal(err)
	case err == nil:
		ld.run.loaded = false // so that it is undone
		return false, ld.fallBack(rewrite.ReasonFallbackCount)
	case pgerr.As(err) == nil:
		return false, err
	}
	return false, ld.fallBack(rewrite.ReasonFallbackTranscode)
}

// copyTranscoded sends the rows of a file. Where they can't be sent to their end,
// it has the server end the COPY with an error.
func (ld *Load) copyTranscoded(f *file) (int64, error) {
	o := ld.spec.scanOptions()
	from := int64(f.head)
	if f.number == 1 && o.HeaderLines > 0 {
		if from, _ = ld.headerEnd(f); from < 0 {
			from = f.held.Size()
		}
	}
	o.HeaderLines = 0
	scan, err := rows.New(o)
	if err != nil {
		return 0, err
	}
	binary := rewrite.CopyStatement{Format: rewrite.FormatBinary, Freeze: ld.spec.Statement.Freeze}
	return ld.copyBehind(binary.Native(ld.spec.Inspection, false), func(c Copy) error {
		t := transcoding{Transcoder: ld.run.transcoder, scan: scan, out: []byte(transcode.Header), write: func(p []byte) error {
			ld.l.metrics.bytes(legServer, len(p))
			return c.Write(p)
		}}
		err := f.held.each(from, f.held.Size()-int64(f.tail), t.piece)
		if err == nil {
			err = t.end()
		}
		var fallback *transcode.Fallback
		if errors.As(err, &fallback) || errors.Is(err, rows.ErrIrregular) {
			ld.log.Debug("file not transcoded", "file", f.number, "error", err)
			_, err = c.End(ld.ctx, Frame{Type: 'f', Body: []byte("not transcoded\x00")})
		}
		return err
	})
}

// transcoding turns pieces of a file, which may be cut anywhere.
type transcoding struct {
	*transcode.Transcoder
	scan  rows.Scanner
	rest  []byte // what came of a row that has not ended
	out   []byte
	write func([]byte) error
}

func (t *transcoding) piece(p []byte) error {
	r, err := t.scan.Scan(p)
	if err != nil {
		return err
	}
	if r.Done {
		return rows.ErrIrregular // the end marker is cut off
	}
	chunk := p[:r.Cut]
	if len(t.rest) > 0 && r.Cut > 0 {
		t.rest = append(t.rest, chunk...)
		chunk = t.rest
	}
	if err := t.chunk(chunk); err != nil {
		return err
	}
	if r.Cut > 0 {
		t.rest = t.rest[:0]
	}
	t.rest = append(t.rest, p[r.Cut:]...)
	return nil
}

// chunk sends whole rows, in one piece with what is to be sent before.
func (t *transcoding) chunk(p []byte) (err error) {
	if t.out, _, err = t.Append(t.out, p); err != nil || len(t.out) == 0 {
		return err
	}
	err = t.write(t.out)
	t.out = t.out[:0]
	return err
}

// end sends the last row, whose line end may be missing.
func (t *transcoding) end() error {
	if _, err := t.scan.End(); err != nil {
		return err
	}
	return t.chunk(t.rest)
}
