package handshake

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The message types of a handshake.
const (
	typeAuthentication   = 'R'
	typeParameterStatus  = 'S'
	typeBackendKeyData   = 'K'
	typeReadyForQuery    = 'Z'
	typeError            = 'E'
	typeNotice           = 'N'
	typeNotification     = 'A'
	typeNegotiateVersion = 'v'
	typeAuthAnswer       = 'p' // password, SASL and GSS answers alike
	typeTerminate        = 'X'
)

const (
	headerLen = 5
	// maxAnswer is PG_MAX_AUTH_TOKEN_LENGTH of PostgreSQL, which counts the
	// length word.
	maxAnswer = 65535
	// maxMessage bounds the upstream's short messages: SASL and GSS data have
	// maxAnswer as their limit too.
	maxMessage = 1 << 16
	// maxText bounds the upstream's messages of free length: errors, notices
	// and parameter values. libpq takes 30000 bytes for an error here; login
	// triggers can make longer ones.
	maxText = 1 << 20
	// maxCancelKey is the limit of protocol 3.2.
	maxCancelKey = 256
	// minCancelKey is what protocol 3.0 has.
	minCancelKey = 4
)

var errLength = errors.New("invalid message length")

// serverLimit is the longest length word accepted of the upstream.
func serverLimit(typ byte) uint32 {
	switch typ {
	case typeError, typeNotice, typeParameterStatus, typeNotification:
		return maxText
	}
	return maxMessage
}

// clientLimit is the longest length word accepted of the client.
func clientLimit(byte) uint32 { return maxAnswer }

// readFrame reads one message with its header into buf, which it grows if it
// must, after the length was checked.
func readFrame(r *bufio.Reader, buf []byte, limit func(byte) uint32) ([]byte, error) {
	head, err := r.Peek(headerLen)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n < 4 || n > limit(head[0]) {
		return nil, fmt.Errorf("message type %q: %w %d", head[0], errLength, n)
	}
	size := int(n) + 1
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	return buf, nil
}

// frameBuffered says whether the next message can be read without waiting.
func frameBuffered(r *bufio.Reader) bool {
	if r.Buffered() < headerLen {
		return false
	}
	head, err := r.Peek(headerLen)
	return err == nil && uint64(binary.BigEndian.Uint32(head[1:]))+1 <= uint64(r.Buffered())
}

// appendFrame appends a whole message to dst.
func appendFrame(dst []byte, typ byte, body []byte) []byte {
	dst = append(dst, typ)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body))+4)
	return append(dst, body...)
}

// cutString splits a zero-terminated string off the front of p.
func cutString(p []byte) (s string, rest []byte, ok bool) {
	for i, c := range p {
		if c == 0 {
			return string(p[:i]), p[i+1:], true
		}
	}
	return "", nil, false
}
