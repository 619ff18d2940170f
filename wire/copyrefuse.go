package wire

import (
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// refuse answers a statement that asks for something we don't do. Where the
// server has something against it, too, that is the answer.
func (t *copyTask) refuse(refusal *rewrite.Refusal, reason rewrite.Reason) error {
	t.s.srv.metrics.count(rewrite.KindCopy, rewrite.Decision{Way: rewrite.Refuse, Reason: reason})
	if refusal.Native != "" {
		e, err := t.probe(refusal.Native)
		if err != nil {
			return err
		}
		if e != nil {
			return t.fail(e)
		}
	}
	return t.fail(refusal.ErrorResponse())
}

// probe asks the server what it has against a COPY without data. It gives none,
// and the transaction has failed or is to be rolled back.
func (t *copyTask) probe(sql string) (*pgerr.Error, error) {
	in := t.s.inject()
	defer in.release()
	if !t.inBlock && t.s.txStatus() == 'I' {
		// The opening has failed: the transaction must not be the statement's own.
		if _, err := in.Exec(t.s.ctx, "BEGIN"); err != nil {
			return nil, err
		}
	}
	c, err := in.StartCopy(t.s.ctx, sql)
	if err == nil {
		_, err = c.End(t.s.ctx, bulk.Frame{Type: 'f', Body: []byte("refused\x00")})
	}
	e := pgerr.As(err)
	switch {
	case e == nil && err == nil:
		return nil, errors.New("the server took a COPY that was ended by CopyFail")
	case e == nil || e.IsFatal():
		return nil, err
	case e.Code() == pgerr.QueryCanceled:
		return nil, nil // it would have taken the data
	}
	if t.stmt == nil {
		return e, nil // it was the client's own text
	}
	return e.With('P', ""), nil // a position in a text that is not the client's
}

// fail ends a statement that has not reached the server with an error of the
// proxy's own, or one that the server gave to a statement of ours.
func (t *copyTask) fail(e *pgerr.Error) error {
	if err := t.leave(); err != nil {
		return err
	}
	return t.replyError(e)
}

// failBegin ends a statement with extensions whose load could not begin.
func (t *copyTask) failBegin(err error) error {
	if t.s.ctx.Err() != nil {
		return err
	}
	e := pgerr.As(err)
	if e == nil {
		t.s.log.Warn("load was not begun", "error", err)
		e = pgerr.New(pgerr.SystemError, "pgbulkproxy: the load could not begin")
	}
	if e.IsFatal() {
		return err
	}
	return t.fail(e)
}
