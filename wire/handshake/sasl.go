package handshake

import (
	"encoding/binary"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

const plusSuffix = "-PLUS"

// bindable says whether channel binding holds end to end: the client sees the
// very certificate that the server shows.
func bindable(client, server *leg) bool {
	return client.tls && server.tls && len(client.cert) > 0 && string(client.cert) == string(server.cert)
}

// withoutPlus returns an AuthenticationSASL message without the mechanisms that
// bind to the channel; the message itself if there are none. left is how many
// mechanisms remain. A list that cannot be read is relayed as it is.
func withoutPlus(msg []byte) (out []byte, stripped bool, left int) {
	list := msg[headerLen+4:]
	body := append([]byte(nil), msg[headerLen:headerLen+4]...)
	for {
		name, rest, ok := cutString(list)
		if !ok {
			return msg, false, left
		}
		if name == "" {
			break
		}
		if strings.HasSuffix(name, plusSuffix) {
			stripped = true
		} else {
			left++
			body = append(append(body, name...), 0)
		}
		list = rest
	}
	if !stripped {
		return msg, false, left
	}
	return appendFrame(nil, msg[0], append(body, 0)), true, left
}

// wantsBinding says whether a SASLInitialResponse claims that the client binds
// to the channel (gs2 flag p) or would if the server could (y). The response's
// own length word is not needed and not trusted.
func wantsBinding(msg []byte) bool {
	mechanism, rest, ok := cutString(msg[headerLen:])
	if !ok {
		return false
	}
	if strings.HasSuffix(mechanism, plusSuffix) {
		return true
	}
	if !strings.HasPrefix(mechanism, "SCRAM-") || len(rest) < 5 || int32(binary.BigEndian.Uint32(rest)) < 1 {
		return false
	}
	return rest[4] == 'y' || rest[4] == 'p'
}

// bindingRefused is what the client reads where the server's own message would
// accuse it of a downgrade.
func bindingRefused() error {
	return refuse(pgerr.Fatal(pgerr.InvalidAuthorization,
		"SCRAM channel binding cannot pass through this proxy").
		With('D', "The connections to the client and to the server do not show the same certificate, so the authentication cannot be bound to both.").
		With('H', "Connect with channel_binding=disable, or give the proxy the server's certificate and key, or use sslmode=disable on one of the two connections."))
}
