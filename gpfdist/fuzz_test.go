package gpfdist

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
)

// FuzzRequest: whatever a connection sends, a request that is taken has a whole
// token, a scan and a segment that can be.
func FuzzRequest(f *testing.F) {
	path := "/" + strings.Repeat("0f", tokenBytes)
	f.Add([]byte(ask{path: path, segment: 1, of: 2}.text()))
	f.Add([]byte(ask{path: path, segment: 2, of: 2}.text()))
	f.Add([]byte(ask{path: path, method: "POST", of: 2}.text()))
	f.Add([]byte(ask{path: "/%30" + path[2:], of: 1, extra: "X-GP-SN: 2\r\n"}.text()))
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p)))
		if err != nil {
			return
		}
		req, herr := parseRequest(r)
		if herr != nil {
			if herr.code < 400 || herr.code > 499 || herr.why == "" {
				t.Errorf("refused by %v", herr)
			}
			return
		}
		if raw, err := hex.DecodeString(req.token); err != nil || len(raw) != tokenBytes {
			t.Errorf("token %q", req.token)
		}
		if r.Method != http.MethodGet || req.segment < 0 || req.segment >= req.of || strings.Count(req.scan, "\x00") != 3 {
			t.Errorf("%s: %+v", r.Method, req)
		}
	})
}
