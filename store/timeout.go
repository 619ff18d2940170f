package store

import (
	"context"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// timeoutError says that one attempt took too long. The retryer tries again.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return "no answer within " + e.after.String() }

// RetryableError tells the SDK's retryer what to do.
func (*timeoutError) RetryableError() bool { return true }

// Timeout tells callers that treat timeouts apart, as net.Error does.
func (*timeoutError) Timeout() bool { return true }

// attemptTimeout ends one attempt of a request after a time. Without it a server
// that accepts a request and never answers would be waited for until the
// caller's context ends.
type attemptTimeout struct {
	after time.Duration
	// streaming keeps the attempt's context alive after an answer, because its
	// body is yet to be read. It ends with the caller's.
	streaming bool
}

// ID names the step in the SDK's stack.
func (*attemptTimeout) ID() string { return "AttemptTimeout" }

// HandleFinalize runs one attempt.
func (t *attemptTimeout) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	attempt, cancel := context.WithCancelCause(ctx)
	expired := &timeoutError{after: t.after}
	timer := time.AfterFunc(t.after, func() { cancel(expired) })
	out, meta, err := next.HandleFinalize(attempt, in)
	if !timer.Stop() && ctx.Err() == nil && err != nil {
		// The SDK reports a cancelled context, which it would not retry.
		err = expired
	}
	if !t.streaming || err != nil {
		cancel(nil)
	}
	return out, meta, err
}

// within bounds each attempt of an operation.
func within(after time.Duration) func(*s3.Options) {
	return withStep(&attemptTimeout{after: after})
}

// answerWithin bounds each attempt's wait for the answer, not its reading. The
// caller's context must be cancelled when the body was read.
func answerWithin(after time.Duration) func(*s3.Options) {
	return withStep(&attemptTimeout{after: after, streaming: true})
}

func withStep(step middleware.FinalizeMiddleware) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Insert(step, "Retry", middleware.After)
		})
	}
}

// unsigned leaves the body out of the signature where the way to the store is
// private anyway.
func (s *s3Store) unsigned(o *s3.Options) {
	if s.cfg.private() {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
}
