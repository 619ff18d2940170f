package gpfdist

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// request is what a segment asks for.
type request struct {
	token string
	// scan names one scan of one statement, the same for all of its segments.
	scan    string
	segment int
	// of is how many segments the database has.
	of int
}

// httpError is an answer other than rows.
type httpError struct {
	code int
	why  string
}

// Error implements error.
func (e *httpError) Error() string { return fmt.Sprintf("%d %s", e.code, e.why) }

// The answers that more than one place gives. That a token is unknown says
// nothing about what there is.
var (
	errNoStream = &httpError{http.StatusNotFound, "no such stream"}
	errMethod   = &httpError{http.StatusMethodNotAllowed, "rows can only be read here"}
	errHeaders  = &httpError{http.StatusBadRequest, "not a request of a segment"}
)

// maxID bounds the values that name a scan; the server's are about ten digits.
const maxID = 64

// parseRequest reads a segment's request. It looks at the method and the headers
// only when the token is one: to others this is a server without pages.
func parseRequest(r *http.Request) (request, *httpError) {
	token := strings.TrimPrefix(r.URL.Path, "/")
	if raw, err := hex.DecodeString(token); err != nil || len(raw) != tokenBytes || r.URL.Path != "/"+token {
		return request{}, errNoStream
	}
	if r.Method != http.MethodGet {
		return request{}, errMethod
	}
	if r.Header.Get("X-Gp-Proto") != "1" {
		return request{}, &httpError{http.StatusBadRequest, "X-GP-PROTO must be 1"}
	}
	var ids []string
	for _, name := range []string{"X-Gp-Xid", "X-Gp-Cid", "X-Gp-Sn"} {
		id := r.Header.Get(name)
		if id == "" || len(id) > maxID {
			return request{}, errHeaders
		}
		ids = append(ids, id)
	}
	of, err := number(r, "X-Gp-Segment-Count")
	if err != nil {
		return request{}, errHeaders
	}
	segment, err := number(r, "X-Gp-Segment-Id")
	if err != nil || segment >= of {
		return request{}, errHeaders
	}
	ids = append(ids, strconv.Itoa(of)) // all segments of a scan know of the same number
	return request{token: token, scan: strings.Join(ids, "\x00"), segment: segment, of: of}, nil
}

// number reads a header that counts segments.
func number(r *http.Request, name string) (int, error) {
	n, err := strconv.ParseUint(r.Header.Get(name), 10, 16)
	return int(n), err
}
