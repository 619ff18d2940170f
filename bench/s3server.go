package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/store/embedded"
)

const (
	// s3Command is the hidden sub-command with which bench starts itself again
	// as the object store: in the proxy's process its memory would count.
	s3Command = "s3server"
	s3Bucket  = "bench"
	s3Ready   = "ready "
)

// s3Access is what the store's process tells its parent, as JSON after s3Ready.
type s3Access struct {
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// s3Server is the object store in its own process.
type s3Server struct {
	*daemon
	s3Access
	root string
}

// startS3 starts the store over a directory below dir.
func startS3(ctx context.Context, dir string) (*s3Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the S3 server: %w", err)
	}
	s := &s3Server{root: filepath.Join(dir, "s3")}
	s.daemon, err = startDaemon(ctx, daemonSpec{
		name: "S3 server", path: self, args: []string{s3Command, s.root}, env: os.Environ(),
		readyLine: s3Ready, log: filepath.Join(dir, "s3.log"),
	})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(s.ready, s3Ready)), &s.s3Access); err != nil {
		s.stop()
		return nil, fmt.Errorf("start the S3 server: read its ready line: %w", err)
	}
	return s, nil
}

// serveS3 is the hidden sub-command: it serves the directory that is its
// argument until it is told to stop.
func serveS3(ctx context.Context) (err error) {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: bench %s DIR", s3Command)
	}
	server, err := embedded.Start(ctx, embedded.Config{Dir: os.Args[2], Bucket: s3Bucket})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(context.WithoutCancel(ctx))) }()
	line, err := json.Marshal(s3Access{server.Endpoint, server.Region, server.AccessKey, server.SecretKey})
	if err != nil {
		return err
	}
	fmt.Printf("%s%s\n", s3Ready, line)
	select {
	case <-ctx.Done():
		return nil
	case <-server.Done():
		return errors.New("the S3 server ended by itself")
	}
}

// url is the proxy's --store.
func (s *s3Server) url() string {
	q := url.Values{"endpoint": {s.Endpoint}, "region": {s.Region}, "path_style": {"true"}}
	return "s3://" + s3Bucket + "/stage?" + q.Encode()
}

// env is ours with the store's credentials instead of any of the user's, and
// without settings for the proxy and for libpq that the user may have.
func (s *s3Server) env() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "PG") {
			env = append(env, v)
		}
	}
	return append(env, "AWS_ACCESS_KEY_ID="+s.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.SecretKey)
}

// empty removes all objects, in the store's directory: through S3 it would take
// longer than some scenarios. No proxy may be running. What begins with a dot is
// the store's own.
func (s *s3Server) empty() error {
	bucket := filepath.Join(s.root, "objects", s3Bucket)
	entries, err := os.ReadDir(bucket)
	if err != nil {
		return fmt.Errorf("empty the object store: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			errs = append(errs, os.RemoveAll(filepath.Join(bucket, e.Name())))
		}
	}
	return errors.Join(errs...)
}
