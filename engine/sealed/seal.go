package sealed

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// KeySize is the length of a database's secret, pgbulk.secret.key.
const KeySize = 32

// The labels keep the two uses of the key apart. seal.sql has them, too.
const (
	macLabel = "pgbulk message 1"
	urlLabel = "pgbulk url 1"
)

const (
	nonceSize = 16
	// urlPad is the block of the key stream; padding to it also blurs the
	// length of the URL.
	urlPad = sha256.Size
)

// Sealer makes the messages that the functions of schema pgbulk obey: a
// readable text, a URL that only the database can decrypt, and a MAC over both.
// SQL text, and so every log and statistics view, shows the sealed form alone.
//
// It may be used concurrently.
type Sealer struct {
	key    []byte
	stream []byte
}

// Sealed is one sealed message: the three arguments of the SQL functions.
type Sealed struct {
	Message, Sealed, MAC string
}

// NewSealer returns a Sealer for the secret of one database.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("seal: the secret has %d bytes, not %d", len(key), KeySize)
	}
	s := &Sealer{key: append([]byte(nil), key...)}
	s.stream = s.hmac([]byte(urlLabel))
	return s, nil
}

// Seal encodes message as JSON and seals it, together with url where that is
// not empty.
func (s *Sealer) Seal(message any, url string) (Sealed, error) {
	text, err := asciiJSON(message)
	if err != nil {
		return Sealed{}, err
	}
	if url != "" && !validURL(url) {
		// Without the URL: it is a secret.
		return Sealed{}, errors.New("seal: the URL has characters that the engine does not take")
	}
	return s.seal(text, url)
}

func (s *Sealer) seal(text, url string) (Sealed, error) {
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return Sealed{}, fmt.Errorf("seal: %w", err)
	}
	sealed := append(nonce[:], s.crypt(nonce[:], padURL(url))...)
	return Sealed{Message: text, Sealed: hex.EncodeToString(sealed), MAC: hex.EncodeToString(s.mac(sealed, text))}, nil
}

// args returns the three texts as SQL literals.
func (m Sealed) args() string {
	return pgident.Literal(m.Message) + ", " + pgident.Literal(m.Sealed) + ", " + pgident.Literal(m.MAC)
}

// open is the database's half, for tests: it checks the MAC and returns the URL.
func (s *Sealer) open(m Sealed) (string, error) {
	sealed, err := hex.DecodeString(m.Sealed)
	if err != nil || len(sealed) < nonceSize {
		return "", errors.New("unseal: form")
	}
	mac, err := hex.DecodeString(m.MAC)
	if err != nil || !hmac.Equal(mac, s.mac(sealed, m.Message)) {
		return "", errors.New("unseal: mac")
	}
	return strings.TrimRight(string(s.crypt(sealed[:nonceSize], sealed[nonceSize:])), " "), nil
}

// mac covers the length of sealed, so that no byte can move between the two.
func (s *Sealer) mac(sealed []byte, message string) []byte {
	data := append([]byte(macLabel), binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))...)
	data = append(data, sealed...)
	return s.hmac(append(data, message...))
}

func (s *Sealer) hmac(data []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(data)
	return h.Sum(nil)
}

// crypt returns data, whose length is a multiple of the block, XORed with
// SHA-256(stream key, nonce, counter): the one cipher that SQL has without an
// extension.
func (s *Sealer) crypt(nonce, data []byte) []byte {
	out := make([]byte, len(data))
	for i := 0; i < len(data); i += urlPad {
		block := append(append([]byte(nil), s.stream...), nonce...)
		sum := sha256.Sum256(binary.BigEndian.AppendUint32(block, uint32(i/urlPad)))
		subtle.XORBytes(out[i:], data[i:], sum[:])
	}
	return out
}

// padURL pads with blanks, which no valid URL holds.
func padURL(url string) []byte {
	n := (len(url) + urlPad - 1) / urlPad * urlPad
	return []byte(url + strings.Repeat(" ", n-len(url)))
}

// asciiJSON encodes v as JSON in ASCII, so that the bytes under the MAC are the
// same in every client and server encoding. Text that is not UTF-8 is refused:
// JSON would replace it in silence.
func asciiJSON(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	var b strings.Builder
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		switch {
		case r < utf8.RuneSelf:
			b.WriteByte(raw[0])
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xD800+(r-0x10000)>>10, 0xDC00+(r-0x10000)&0x3FF)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		raw = raw[n:]
	}
	return b.String(), nil
}
