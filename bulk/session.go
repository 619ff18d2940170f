package bulk

import "context"

// Session is what a load needs of the client's own upstream connection. The
// wire layer provides it. Its methods are called by one goroutine at a time,
// except Cancel. Errors that the server reported are *pgerr.Error; any other
// error means that the connection is gone.
type Session interface {
	// Exec runs sql as one simple Query, hidden from the client, and returns a
	// Result for each statement that completed. NotificationResponse and
	// ParameterStatus still reach the client. An empty sql is a keep-alive.
	Exec(ctx context.Context, sql string) ([]Result, error)
	// StartCopy sends a COPY … FROM STDIN and returns when the server asks for
	// data. Notices of this statement go to the client at once, as natively. Where
	// other statements stand in front of it, an error of the server's is a
	// StartError.
	StartCopy(ctx context.Context, sql string) (Copy, error)
	// Notify passes NoticeResponse bodies of an Exec on to the client.
	Notify(notices [][]byte) error
	// Cancel asks the server to cancel what runs now, and returns when the
	// server has seen the request.
	Cancel()
}

// StartError is an error of the server's from the statements of a StartCopy.
type StartError struct {
	// Completed is how many of them did.
	Completed int
	Err       error
}

// Error implements error.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the server's error.
func (e *StartError) Unwrap() error { return e.Err }

// Result is the outcome of one statement of an Exec.
type Result struct {
	// Tag is the command tag, such as "INSERT 0 5".
	Tag string
	// Rows hold text values; a nil value is NULL.
	Rows [][][]byte
	// Notices are the bodies of NoticeResponse messages that came before the
	// statement's end.
	Notices [][]byte
}

// Copy is a COPY … FROM STDIN under way on the session.
type Copy interface {
	// Write sends p as CopyData; p may be reused when it returns. It returns
	// the server's error as soon as that is known; then the COPY is over.
	Write(p []byte) error
	// End sends the frame that ends the data and returns the rows that the
	// server says it copied. The frame is CopyDone, CopyFail or whatever the
	// client sent instead, which the server will refuse in its own words.
	End(ctx context.Context, end Frame) (rows int64, err error)
}

// Frame is one protocol message: a type byte and a body; or Raw bytes, where
// the client sent something that is no message.
type Frame struct {
	Type byte
	Body []byte
	Raw  []byte
}

// CopyDone returns the frame that ends COPY data in good order.
func CopyDone() Frame { return Frame{Type: 'c'} }
