package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// scrubbed is an error without the secrets in its text.
type scrubbed struct {
	text string
	err  error
}

func (e *scrubbed) Error() string { return e.text }
func (e *scrubbed) Unwrap() error { return e.err }

// signedParameters are the parts of a signed URL that must not be shown.
var signedParameters = regexp.MustCompile(`(?i)(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s"]*`)

func (s *s3Store) scrub(err error) error {
	text := err.Error()
	clean := signedParameters.ReplaceAllString(text, "${1}xxxxx")
	for _, secret := range s.secrets {
		clean = strings.ReplaceAll(clean, secret, "xxxxx")
	}
	if clean == text {
		return err
	}
	return &scrubbed{text: clean, err: err}
}

// failed says which operation on what failed. If the context has ended, its
// cause is the reason, whatever the SDK made of it.
func (s *s3Store) failed(ctx context.Context, op, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case isNotFound(err):
		err = ErrNotFound
	}
	return fmt.Errorf("%s %s: %w", op, what, s.scrub(err))
}

// isNotFound is whether an object is missing: not its bucket, an upload, or the
// owner of a key, for which some servers answer 404, too.
func isNotFound(err error) bool {
	switch code(err) {
	case "NoSuchKey", "NotFound":
		return true
	case "":
		return status(err) == http.StatusNotFound
	}
	return false
}

// Code is the S3 error code of the answer behind an error, such as
// InvalidAccessKeyId; empty if there was none.
func Code(err error) string { return code(err) }

// code is the S3 error code of an answer, empty if there was none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status is the HTTP status of an answer, zero if there was none.
func status(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// isUnknownHeader is whether a request was refused for a header, and not for
// its content: a checksum that does not match is a BadDigest.
func isUnknownHeader(err error) bool {
	switch code(err) {
	case "NotImplemented", "InvalidArgument", "InvalidRequest":
		return true
	}
	return status(err) == http.StatusNotImplemented
}
