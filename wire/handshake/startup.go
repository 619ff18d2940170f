package handshake

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// Codes that stand where a startup packet has its version.
const (
	codeCancel = 1234<<16 | 5678
	codeSSL    = 1234<<16 | 5679
	codeGSSENC = 1234<<16 | 5680
)

// Param is one parameter of a startup packet.
type Param struct{ Name, Value string }

// startup is a startup packet of protocol 3.
type startup struct {
	raw     []byte // as received, with the length word
	version uint32
	params  []Param
}

// parseStartup reads a packet that starts with its length word and has at
// least a version word. Its refusals are those of PostgreSQL; a missing user is
// left for the server to refuse.
func parseStartup(raw []byte) (startup, error) {
	s := startup{raw: raw, version: binary.BigEndian.Uint32(raw[4:])}
	if s.version>>16 != 3 {
		return s, refuse(pgerr.Fatal(pgerr.FeatureNotSupported,
			"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", s.version>>16, s.version&0xffff))
	}
	body := raw[8:]
	for len(body) > 0 && body[0] != 0 {
		name, rest, ok := cutString(body)
		if !ok {
			break
		}
		value, rest, ok := cutString(rest)
		if !ok {
			break
		}
		s.params = append(s.params, Param{name, value})
		body = rest
	}
	if !bytes.Equal(body, []byte{0}) {
		return s, refuse(pgerr.Fatal(pgerr.ProtocolViolation,
			"invalid startup packet layout: expected terminator as last byte"))
	}
	return s, nil
}

// get returns the last value of a parameter: a server applies them in order.
func (s startup) get(name string) string {
	for i := len(s.params) - 1; i >= 0; i-- {
		if s.params[i].Name == name {
			return s.params[i].Value
		}
	}
	return ""
}

// database is the database that the server will connect to.
func (s startup) database() string {
	if db := s.get("database"); db != "" {
		return db
	}
	return s.get("user")
}

// replication says whether the server will take this for a replication
// connection: the value is "database" or anything that PostgreSQL's boolean
// input takes for true. What it takes for an error, it refuses.
func (s startup) replication() bool {
	v := s.get("replication")
	if v == "" {
		return false
	}
	if v == "database" || v == "1" || strings.EqualFold(v, "on") {
		return true
	}
	isPrefix := func(word string) bool { return len(v) <= len(word) && strings.EqualFold(word[:len(v)], v) }
	return isPrefix("true") || isPrefix("yes")
}
