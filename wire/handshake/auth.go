package handshake

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// Requests that an Authentication message can hold.
const (
	authOK          = 0
	authGSSContinue = 8
	authSASL        = 10
	authSASLFinal   = 12
	lastKnownAuth   = authSASLFinal
)

// maxParameterBytes bounds what is remembered of ParameterStatus messages.
const maxParameterBytes = 1 << 20

// relay carries the upstream's messages to the client until ReadyForQuery, and
// fills est.
type relay struct {
	client, server *leg
	guard          *guard
	pump           *pump
	out            *bufio.Writer
	est            *Established
	buf            []byte
	authenticated  bool
	done           bool
	paramBytes     int
}

// run starts the pump's goroutine and ends it. The error may be a refusal for
// the client; a refusal by the upstream itself was relayed already.
func (a *relay) run(frames [][]byte) error {
	a.pump = startPump(a.client, a.server, a.guard)
	err := a.loop(frames)
	pumpErr := a.pump.halt()
	if err != nil && pumpErr == nil {
		// What came before the error belongs before it. If the client does not
		// take it, it will not take the error either.
		_ = a.out.Flush()
	}
	return a.cause(err, pumpErr)
}

// cause picks the error that explains the others: the two sides end each
// other's waits.
func (a *relay) cause(err, pumpErr error) error {
	var told *relayedError
	switch {
	case errors.As(err, &told):
		return err
	case pumpErr != nil && !isTimeout(pumpErr):
		return pumpErr
	case pumpErr == nil && !isTimeout(err):
		return err
	case a.pump.waiting.Load():
		return refuse(pgerr.Fatal(pgerr.QueryCanceled, "canceling authentication due to timeout"))
	}
	return upstreamLost("did not answer", errors.Join(err, pumpErr))
}

func (a *relay) loop(frames [][]byte) error {
	for _, f := range frames {
		if err := a.handle(f); err != nil {
			return err
		}
	}
	for !a.done {
		if !frameBuffered(a.server.r) {
			if err := a.out.Flush(); err != nil {
				return clientGone(err)
			}
		}
		f, err := readFrame(a.server.r, a.buf, serverLimit)
		if err != nil {
			return readError(err)
		}
		a.buf = f
		if err := a.handle(f); err != nil {
			return err
		}
	}
	if err := a.out.Flush(); err != nil {
		return clientGone(err)
	}
	return nil
}

// handle takes one message, notes what the session needs of it and relays it.
func (a *relay) handle(msg []byte) error {
	body := msg[headerLen:]
	var err error
	switch msg[0] {
	case typeAuthentication:
		msg, err = a.authentication(msg)
	case typeNegotiateVersion:
		err = a.negotiated(body)
	case typeError:
		return a.refused(msg)
	case typeNotice:
	case typeParameterStatus, typeBackendKeyData, typeNotification, typeReadyForQuery:
		if !a.authenticated {
			return upstreamBroke("sent message type %q before the end of the authentication", msg[0])
		}
		err = a.afterAuth(msg[0], body)
	default:
		return upstreamBroke("sent unexpected message type %q during startup", msg[0])
	}
	if err != nil {
		return err
	}
	return a.send(msg)
}

func (a *relay) send(msg []byte) error {
	if _, err := a.out.Write(msg); err != nil {
		return clientGone(err)
	}
	return nil
}

// authentication returns the message to relay, which differs from the one that
// came only in its list of mechanisms.
func (a *relay) authentication(msg []byte) ([]byte, error) {
	code, ok := be32(msg[headerLen:])
	if !ok || a.authenticated {
		return nil, upstreamBroke("sent an invalid authentication request")
	}
	var next ask
	switch code {
	case authOK:
		a.authenticated = true
		a.guard.lift()
		return msg, nil
	case authSASLFinal:
		return msg, nil
	case authSASL:
		if !bindable(a.client, a.server) {
			var left int
			msg, next.stripped, left = withoutPlus(msg)
			if next.stripped && left == 0 {
				return nil, bindingRefused()
			}
		}
	}
	// A method that is not known here may need no answer either.
	next.optional = code == authGSSContinue || code > lastKnownAuth
	if !a.pump.expect(next) {
		return nil, upstreamBroke("asked again before the client had answered")
	}
	return msg, nil
}

// negotiated notes the version that the upstream offers. Servers before
// PostgreSQL 18 and the documentation disagree on whether the word is the whole
// version or its minor part.
func (a *relay) negotiated(body []byte) error {
	v, ok := be32(body)
	if !ok || a.authenticated {
		return upstreamBroke("sent an invalid version negotiation")
	}
	if v < 1<<16 {
		v |= 3 << 16
	}
	if v < a.est.Protocol {
		a.est.Protocol = v
	}
	return nil
}

func (a *relay) afterAuth(typ byte, body []byte) error {
	switch typ {
	case typeParameterStatus:
		return a.parameter(body)
	case typeBackendKeyData:
		pid, ok := be32(body)
		if !ok || len(body) > 4+maxCancelKey {
			return upstreamBroke("sent an invalid cancel key")
		}
		a.est.BackendPID = pid
		a.est.CancelKey = append([]byte(nil), body[4:]...)
	case typeReadyForQuery:
		if len(body) != 1 {
			return upstreamBroke("sent an invalid ReadyForQuery")
		}
		a.est.TxStatus, a.done = body[0], true
	}
	return nil
}

func (a *relay) parameter(body []byte) error {
	name, rest, ok := cutString(body)
	if !ok {
		return upstreamBroke("sent an invalid parameter")
	}
	value, _, ok := cutString(rest)
	if !ok {
		return upstreamBroke("sent an invalid parameter")
	}
	if a.paramBytes += len(body); a.paramBytes > maxParameterBytes {
		return upstreamBroke("sent parameters without end")
	}
	a.est.ParameterStatus[name] = value
	return nil
}

// relayedError is the upstream's own ErrorResponse, which the client has read.
type relayedError struct{ sent *pgerr.Error }

// Error implements error.
func (e *relayedError) Error() string { return "upstream refused the session: " + e.sent.Error() }

// Unwrap makes the SQLSTATE visible to errors.As.
func (e *relayedError) Unwrap() error { return e.sent }

// refused relays the upstream's error byte for byte. It is the last message:
// every error before ReadyForQuery is fatal.
func (a *relay) refused(msg []byte) error {
	if err := a.send(msg); err != nil {
		return err
	}
	if err := a.out.Flush(); err != nil {
		return clientGone(err)
	}
	return &relayedError{sent: pgerr.Parse(msg[headerLen:])}
}

// clientBroke is the refusal when the client's answer is no message.
func clientBroke(cause error) error {
	return refuseBecause(pgerr.Fatal(pgerr.ProtocolViolation, "invalid message length"), cause)
}

// cancelPacket is a CancelRequest on the wire.
func cancelPacket(pid uint32, key []byte) ([]byte, error) {
	if len(key) < minCancelKey || len(key) > maxCancelKey {
		return nil, fmt.Errorf("cancel key of %d bytes: %w", len(key), errLength)
	}
	p := binary.BigEndian.AppendUint32(nil, uint32(12+len(key)))
	p = binary.BigEndian.AppendUint32(p, codeCancel)
	p = binary.BigEndian.AppendUint32(p, pid)
	return append(p, key...), nil
}
