package transcode

import "encoding/hex"

// words are those of bool; all that begins as one does, means it.
var words = [...]struct {
	word  string
	least int
	value byte
}{
	{"true", 1, 1}, {"false", 1, 0}, {"yes", 1, 1}, {"no", 1, 0}, {"on", 2, 1}, {"off", 2, 0}, {"1", 1, 1}, {"0", 1, 0},
}

func appendBool(dst, text []byte) ([]byte, bool) {
	if len(text) == 1 {
		switch text[0] {
		case 't':
			return append(dst, 1), true
		case 'f':
			return append(dst, 0), true
		}
	}
	text = trim(text)
	for i := range words {
		w := &words[i]
		if n := len(text); n >= w.least && n <= len(w.word) && fold(text, w.word[:n]) {
			return append(dst, w.value), true
		}
	}
	return dst, false
}

// appendName leaves names that are too long to the server: text is cut, binary
// refused.
func appendName(dst, text []byte) ([]byte, bool) {
	const most = 63
	return append(dst, text...), len(text) <= most
}

// appendJSONB: the version of the format comes first. The server's parser reads
// the rest as it reads text.
func appendJSONB(dst, text []byte) ([]byte, bool) { return append(append(dst, 1), text...), true }

// byteaWriter: what stands for itself has to be valid, since the receive function
// doesn't ask.
func byteaWriter(s *Settings) writer {
	valid := s.valid()
	return func(dst, text []byte) ([]byte, bool) {
		if len(text) >= 2 && text[0] == '\\' && text[1] == 'x' {
			return appendHex(dst, text[2:])
		}
		if !valid(text) {
			return dst, false
		}
		return appendEscaped(dst, text)
	}
}

// appendHex leaves white space to the server.
func appendHex(dst, text []byte) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, text[:len(text)/2]...)
	_, err := hex.Decode(dst[start:], text)
	return dst, err == nil
}

// appendEscaped reads the older form of bytea: \\ and \ooo, anything else is
// itself.
func appendEscaped(dst, text []byte) ([]byte, bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == 0 {
			return dst, false
		}
		if c == '\\' {
			rest := text[i+1:]
			switch {
			case len(rest) > 0 && rest[0] == '\\':
				i++
			case len(rest) >= 3 && rest[0]-'0' < 4 && rest[1]-'0' < 8 && rest[2]-'0' < 8:
				c = (rest[0]-'0')<<6 | (rest[1]-'0')<<3 | (rest[2] - '0')
				i += 3
			default:
				return dst, false
			}
		}
		dst = append(dst, c)
	}
	return dst, true
}

// appendUUID reads 32 digits, perhaps in braces; a hyphen may stand behind each
// four of them.
func appendUUID(dst, text []byte) ([]byte, bool) {
	if n := len(text); n >= 2 && text[0] == '{' && text[n-1] == '}' {
		text = text[1 : n-1]
	}
	for i := range 16 {
		if len(text) < 2 {
			return dst, false
		}
		hi, lo := hexDigits[text[0]], hexDigits[text[1]]
		if hi|lo > 15 {
			return dst, false
		}
		dst, text = append(dst, hi<<4|lo), text[2:]
		if i&1 == 1 && i < 15 && len(text) > 0 && text[0] == '-' {
			text = text[1:]
		}
	}
	return dst, len(text) == 0
}

// hexDigits are the values of digits; what is none is more than 15.
var hexDigits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range byte(16) {
		c := "0123456789abcdef"[i]
		t[c] = i
		if c >= 'a' {
			t[c-'a'+'A'] = i
		}
	}
	return t
}()
