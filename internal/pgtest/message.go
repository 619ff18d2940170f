package pgtest

import (
	"bufio"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// maxMessage bounds a backend message; it is well above PostgreSQL's own limit
// for a row that these scripts produce, and a garbled length must not make the
// test allocate gigabytes.
const maxMessage = 256 << 20

// longValue is the length from which a value is shown by its digest.
const longValue = 300

// Message is one message of the backend as it came.
type Message struct {
	Type byte
	Body []byte
}

// backendNames are the protocol's names of the backend's messages.
var backendNames = map[byte]string{
	'1': "ParseComplete", '2': "BindComplete", '3': "CloseComplete",
	'A': "NotificationResponse", 'C': "CommandComplete", 'D': "DataRow",
	'E': "ErrorResponse", 'G': "CopyInResponse", 'H': "CopyOutResponse",
	'I': "EmptyQueryResponse", 'K': "BackendKeyData", 'N': "NoticeResponse",
	'R': "Authentication", 'S': "ParameterStatus", 'T': "RowDescription",
	'V': "FunctionCallResponse", 'W': "CopyBothResponse", 'Z': "ReadyForQuery",
	'c': "CopyDone", 'd': "CopyData", 'n': "NoData", 's': "PortalSuspended",
	't': "ParameterDescription", 'v': "NegotiateProtocolVersion",
}

// Name is the protocol's name of the message.
func (m Message) Name() string {
	if name, ok := backendNames[m.Type]; ok {
		return name
	}
	return fmt.Sprintf("Unknown(%q)", m.Type)
}

func readMessage(reader *bufio.Reader) (Message, error) {
	var header [5]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return Message{}, err
	}
	length := int64(binary.BigEndian.Uint32(header[1:])) - 4
	if length < 0 || length > maxMessage {
		return Message{}, fmt.Errorf("message %q of %d bytes", header[0], length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(reader, body); err != nil {
		return Message{}, err
	}
	return Message{Type: header[0], Body: body}, nil
}

// render writes the message with all its fields in one line. A body that its
// own type cannot explain is shown in hexadecimal, so that it is compared too.
func (m Message) render(n *normalizer) string {
	text, err := m.fields(n)
	if err != nil {
		text = " malformed " + hex.EncodeToString(m.Body)
	}
	return n.text(m.Name() + text)
}

func (m Message) fields(n *normalizer) (string, error) {
	switch m.Type {
	case 'E', 'N':
		return errorFields(m.Body, n)
	case 'T':
		return rowDescription(m.Body, n)
	case 'D':
		return dataRow(m.Body)
	case 't':
		var message pgproto3.ParameterDescription
		err := message.Decode(m.Body)
		var text strings.Builder
		for _, oid := range message.ParameterOIDs {
			text.WriteString(" " + n.oid(oid))
		}
		return text.String(), err
	case 'G', 'H', 'W':
		return copyResponse(m.Body)
	case 'A':
		var message pgproto3.NotificationResponse
		err := message.Decode(m.Body)
		return fmt.Sprintf(" from %s channel %q payload %q", n.pid(message.PID), message.Channel, message.Payload), err
	case 'K':
		return "", nil
	default:
		return plainFields(m)
	}
}

func plainFields(m Message) (string, error) {
	switch m.Type {
	case 'C':
		var message pgproto3.CommandComplete
		err := message.Decode(m.Body)
		return fmt.Sprintf(" %q", message.CommandTag), err
	case 'Z':
		var message pgproto3.ReadyForQuery
		err := message.Decode(m.Body)
		return " " + string(message.TxStatus), err
	case 'S':
		var message pgproto3.ParameterStatus
		err := message.Decode(m.Body)
		return fmt.Sprintf(" %q=%q", message.Name, message.Value), err
	case 'V':
		var message pgproto3.FunctionCallResponse
		err := message.Decode(m.Body)
		return " " + value(message.Result), err
	case 'd':
		return " " + value(append([]byte{}, m.Body...)), nil
	}
	if len(m.Body) > 0 {
		return " body " + hex.EncodeToString(m.Body), nil
	}
	return "", nil
}

func rowDescription(body []byte, n *normalizer) (string, error) {
	var message pgproto3.RowDescription
	if err := message.Decode(body); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, f := range message.Fields {
		fmt.Fprintf(&text, " %q(table %s attr %d type %s size %d mod %d format %d)", f.Name,
			n.oid(f.TableOID), f.TableAttributeNumber, n.oid(f.DataTypeOID), f.DataTypeSize, f.TypeModifier, f.Format)
	}
	return text.String(), nil
}

func dataRow(body []byte) (string, error) {
	var message pgproto3.DataRow
	if err := message.Decode(body); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, v := range message.Values {
		text.WriteString(" " + value(v))
	}
	return text.String(), nil
}

// copyResponse reads overall format and column formats itself: all three
// responses have the same layout.
func copyResponse(body []byte) (string, error) {
	if len(body) < 3 {
		return "", io.ErrUnexpectedEOF
	}
	columns := int(binary.BigEndian.Uint16(body[1:]))
	if len(body) != 3+2*columns {
		return "", fmt.Errorf("%d columns in %d bytes", columns, len(body))
	}
	formats := make([]string, 0, columns)
	for i := range columns {
		formats = append(formats, strconv.Itoa(int(binary.BigEndian.Uint16(body[3+2*i:]))))
	}
	return fmt.Sprintf(" format %d columns [%s]", body[0], strings.Join(formats, " ")), nil
}

// errorFields shows the fields in the order in which they were sent.
func errorFields(body []byte, n *normalizer) (string, error) {
	var text strings.Builder
	for len(body) > 1 {
		end := strings.IndexByte(string(body), 0)
		if end < 0 {
			return "", io.ErrUnexpectedEOF
		}
		if !strings.Contains(n.waived, string(body[0])) {
			fmt.Fprintf(&text, " %c=%s", body[0], value(body[1:end]))
		}
		body = body[end+1:]
	}
	if len(body) != 1 || body[0] != 0 {
		return "", io.ErrUnexpectedEOF
	}
	return text.String(), nil
}

func value(data []byte) string {
	switch {
	case data == nil:
		return "NULL"
	case len(data) > longValue:
		return fmt.Sprintf("<%d bytes, md5 %x>", len(data), md5.Sum(data))
	}
	return strconv.Quote(string(data))
}
