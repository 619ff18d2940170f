package sealed

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testSealer(t interface{ Fatal(...any) }) *Sealer {
	s, err := NewSealer(bytes.Repeat([]byte{7}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealKeepsTheURL(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := testSealer(t)
		url := "http://h/" + rapid.StringMatching(`[A-Za-z0-9%?&=]{0,200}`).Draw(t, "path")
		m, err := s.Seal(map[string]string{"a": rapid.String().Draw(t, "text")}, url)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.open(m); err != nil || got != url {
			t.Fatalf("got %q, %v", got, err)
		}
		if strings.Contains(m.Message+m.Sealed, url[9:]) && len(url) > 20 {
			t.Fatal("the URL shows")
		}
	})
}

func TestSealRefusesChanges(t *testing.T) {
	t.Parallel()
	s := testSealer(t)
	m, err := s.Seal(map[string]string{"role": "alice"}, "https://s3/bucket/key?sig=1")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.Seal(map[string]string{"role": "alice"}, "https://s3/bucket/key?sig=1")
	if m.Sealed == again.Sealed || m.MAC == again.MAC {
		t.Error("two seals are the same")
	}
	for name, bad := range map[string]Sealed{
		"message": {strings.Replace(m.Message, "alice", "alicf", 1), m.Sealed, m.MAC},
		"sealed":  {m.Message, flip(m.Sealed), m.MAC},
		"mac":     {m.Message, m.Sealed, flip(m.MAC)},
		"moved":   {string(unhex(m.Sealed[len(m.Sealed)-64:])) + m.Message, m.Sealed[:len(m.Sealed)-64], m.MAC},
		"short":   {m.Message, "00", m.MAC},
		"no hex":  {m.Message, "x", m.MAC},
		"empty":   {},
	} {
		if _, err := s.open(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	other, _ := NewSealer(bytes.Repeat([]byte{8}, KeySize))
	if _, err := other.open(m); err == nil {
		t.Error("another key opens it")
	}
	if _, err := NewSealer([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}

func flip(s string) string {
	c := byte('0')
	if s[0] == c {
		c = '1'
	}
	return string(c) + s[1:]
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

func TestASCIIJSON(t *testing.T) {
	t.Parallel()
	got, err := asciiJSON(map[string]string{"a": "é日😀\"\\\n<'\x7f"})
	if want := `{"a":"\u00e9\u65e5\ud83d\ude00\"\\\n\u003c'` + "\x7f" + `"}`; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
