package sealed

import (
	"strings"
	"testing"
)

func TestValidURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"http://127.0.0.1:7070/bucket/p/2024-01-01/1/file-1?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20240101%2Fus-east-1&X-Amz-Signature=0a",
		"https://bucket.s3.eu-central-1.amazonaws.com/a~b_c/%C3%A9+x=1,2:3@4?x-id=GetObject",
	} {
		if !validURL(good) {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range append([]string{
		"", "http://h", "file:///etc/passwd", "ftp://h/x", "gopher://h/x", "HTTP://h/x", "http://u:p@h/x", "http:///x", "-o/tmp/x", " http://h/x",
		"http://h/x http://h/y", "http://h/x\n", "http://h/x\nhttp://h/y", "http://h/é", "http://h/" + strings.Repeat("x", maxURL),
	}, shellCharacters()...) {
		if validURL(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

func shellCharacters() []string {
	var urls []string
	for _, c := range "'\"\\`$;|<>(){}[]!*#^ \t\r\n\x00\x01\x7f" {
		urls = append(urls, "http://h/x"+string(c)+"y")
	}
	return urls
}
