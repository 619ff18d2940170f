package testenv_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestS3SharedServer(t *testing.T) {
	t.Parallel()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s3 := testenv.S3(t)
	if testenv.S3(t) != s3 {
		t.Fatal("a second call started another server")
	}
	if now, err := os.Getwd(); err != nil || now != cwd {
		t.Errorf("the working directory has changed from %s to %s (%v)", cwd, now, err)
	}
	if a, b := s3.Prefix(t), s3.Prefix(t); a == b {
		t.Errorf("two tests got the prefix %s", a)
	}
	st, key := s3.Store(t), s3.Prefix(t)+"x"
	if err := st.Put(context.Background(), key, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	r, err := st.Open(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != "content" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
