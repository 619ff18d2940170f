package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Open reads an object. A connection that is lost in the middle is replaced by
// another one, from the byte where the first ended.
func (s *s3Store) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	o := &object{store: s, ctx: ctx, key: key}
	if err := o.open(); err != nil {
		return nil, s.failed(ctx, "open", s.URL(key), err)
	}
	return o, nil
}

// object is the body of an object being read.
type object struct {
	store *s3Store
	ctx   context.Context // of Open: it bounds the reading too
	key   string

	etag   *string
	size   int64
	off    int64
	body   io.ReadCloser
	cancel context.CancelCauseFunc // of the current request
	err    error                   // sticky
}

// open requests the object from the current offset. The first request fixes its
// ETag, so that a later one cannot go on with another object.
func (o *object) open() error {
	ctx, cancel := context.WithCancelCause(o.ctx)
	in := &s3.GetObjectInput{Bucket: o.store.bucket, Key: aws.String(o.key), IfMatch: o.etag}
	if o.off > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", o.off))
	}
	out, err := o.store.client.GetObject(ctx, in, answerWithin(o.store.cfg.RequestTimeout))
	if err != nil {
		cancel(nil)
		return err
	}
	if o.etag == nil {
		o.etag, o.size = out.ETag, aws.ToInt64(out.ContentLength)
	} else if aws.ToInt64(out.ContentLength) != o.size-o.off {
		cancel(nil)
		return errors.Join(errors.New("the store answered with another range"), out.Body.Close())
	}
	o.body, o.cancel = out.Body, cancel
	return nil
}

// Read reads on. Each read must bring something within Config.RequestTimeout;
// the time between reads does not count.
func (o *object) Read(p []byte) (int, error) {
	for failures := 0; o.err == nil; failures++ {
		if o.off == o.size {
			o.err = io.EOF
			break
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := o.readSome(p)
		if n > 0 {
			return n, nil // an error comes back with the next read
		}
		if o.ctx.Err() != nil || failures+1 >= o.store.cfg.MaxAttempts {
			o.err = o.store.failed(o.ctx, "read", o.store.URL(o.key), err)
			break
		}
		o.reopen(failures)
	}
	return 0, o.err
}

func (o *object) readSome(p []byte) (int, error) {
	if o.body == nil {
		if err := o.open(); err != nil {
			return 0, err
		}
	}
	stalled := &timeoutError{after: o.store.cfg.RequestTimeout}
	timer := time.AfterFunc(stalled.after, func() { o.cancel(stalled) })
	n, err := o.body.Read(p)
	if !timer.Stop() && err != nil {
		err = stalled
	}
	o.off += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // counts only if o.off is not o.size
	}
	return n, err
}

// reopen drops the connection and waits a little; the next readSome opens
// another.
func (o *object) reopen(failures int) {
	o.drop()
	o.store.m.retried()
	timer := time.NewTimer(100 * time.Millisecond << min(failures, 5))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.ctx.Done():
	}
}

func (o *object) drop() {
	if o.body != nil {
		_ = o.body.Close() // nothing is lost by it: the bytes were counted
		o.cancel(nil)
		o.body = nil
	}
}

// Close gives up the connection.
func (o *object) Close() error {
	o.drop()
	if o.err == nil {
		o.err = fmt.Errorf("read %s: it is closed", o.store.URL(o.key))
	}
	return nil
}
