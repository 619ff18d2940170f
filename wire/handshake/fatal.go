package handshake

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// fatalTimeout bounds the writing of a last message: it nearly always fits the
// socket's buffer.
const fatalTimeout = 2 * time.Second

// refusal is an error that the client is told about. The cause is for the log:
// it may name addresses.
type refusal struct {
	tell  *pgerr.Error
	cause error
}

func refuse(tell *pgerr.Error) error { return &refusal{tell: tell} }

func refuseBecause(tell *pgerr.Error, cause error) error { return &refusal{tell: tell, cause: cause} }

// Error implements error.
func (r *refusal) Error() string {
	if r.cause == nil {
		return r.tell.Error()
	}
	return r.tell.Error() + ": " + r.cause.Error()
}

// Unwrap makes SQLSTATE and cause visible to errors.As and errors.Is.
func (r *refusal) Unwrap() []error {
	if r.cause == nil {
		return []error{r.tell}
	}
	return []error{r.tell, r.cause}
}

// errClientGone says that there is nobody left to tell.
var errClientGone = errors.New("client left")

func clientGone(cause error) error { return fmt.Errorf("%w: %w", errClientGone, cause) }

// sendFatal tells the client, if the error is one to tell. The connection is
// closed next, so a failure to write changes nothing and is not reported.
func sendFatal(conn net.Conn, version uint32, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		return
	}
	msg := appendFrame(nil, typeError, r.tell.AppendBody(nil))
	if version>>16 < 3 && version != 0 {
		// Clients of protocol 2 read a plain string, and PostgreSQL sends one.
		msg = fmt.Appendf(nil, "E%s:  %s\n\x00", r.tell.Get('S'), r.tell.Get('M'))
	}
	if conn.SetDeadline(time.Now().Add(fatalTimeout)) == nil {
		_, _ = conn.Write(msg)
	}
}

// unreachable is the refusal after a failed dial.
func unreachable(cause error) error {
	return refuseBecause(pgerr.Fatal(pgerr.CannotConnectNow, "could not connect to upstream: %s", reason(cause)), cause)
}

// reason says why a connection failed in words that name no address, path or
// certificate.
func reason(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	var verify *tls.CertificateVerificationError
	switch {
	case isTimeout(err):
		return "timed out"
	case errors.As(err, &dns):
		return "host name lookup did not succeed"
	case errors.As(err, &verify):
		return "its certificate could not be verified"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "connection lost or refused"
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// upstreamLost is the refusal when the upstream breaks off.
func upstreamLost(what string, cause error) error {
	return refuseBecause(pgerr.Fatal(pgerr.ConnectionFailure, "upstream %s: %s", what, reason(cause)), cause)
}

// upstreamBroke is the refusal when the upstream says what it must not.
func upstreamBroke(format string, args ...any) error {
	return refuse(pgerr.Fatal(pgerr.ProtocolViolation, "upstream "+format, args...))
}

// be32 reads the first word of p, or says that there is none.
func be32(p []byte) (uint32, bool) {
	if len(p) < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(p), true
}
