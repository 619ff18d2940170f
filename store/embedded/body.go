package embedded

import (
	"errors"
	"io"

	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"
)

// wholeBody refuses a body that ends before the length that was announced. The
// library takes the end of a cut connection for the end of the body and would
// publish half an object.
type wholeBody struct {
	io.Reader
	left int64
	cut  bool
}

// newWholeBody wraps a body unless its length is unknown.
func newWholeBody(body io.Reader, length *int64) *wholeBody {
	if length == nil || body == nil {
		return nil
	}
	return &wholeBody{Reader: body, left: *length}
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.left -= int64(n)
	if b.left > 0 && err != nil {
		var known s3err.S3Error
		if errors.As(err, &known) {
			return n, err
		}
		// One of S3's own errors: the library takes io.ErrUnexpectedEOF for a
		// regular end too, and prints an alarm for every other.
		b.cut = true
		return n, s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return n, err
}

// Algorithm and Checksum pass on what a body in signed chunks says of itself:
// the library looks for them by an interface of the body.
func (b *wholeBody) Algorithm() string {
	if r, ok := b.Reader.(middlewares.ChecksumReader); ok {
		return r.Algorithm()
	}
	return ""
}

// Checksum is the checksum that follows the body.
func (b *wholeBody) Checksum() string {
	if r, ok := b.Reader.(middlewares.ChecksumReader); ok {
		return r.Checksum()
	}
	return ""
}

// outcome is the error of an operation with the body.
func (b *wholeBody) outcome(err error) error {
	if err != nil && b != nil && b.cut {
		return s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return err
}
