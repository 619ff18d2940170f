package embedded

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// credentials are kept in a file so that a client configured with them still
// works after a restart.
type credentials struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// loadCredentials reads the file or makes it. The directory is locked, so nobody
// else makes it at the same time.
func loadCredentials(path string) (credentials, error) {
	var c credentials
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return makeCredentials(path)
	}
	if err != nil {
		return c, fmt.Errorf("read credentials: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil || c.AccessKey == "" || c.SecretKey == "" {
		// The parser's error could quote the secret.
		return credentials{}, fmt.Errorf("read credentials: %s is damaged; remove it to have new ones made", path)
	}
	return c, nil
}

func makeCredentials(path string) (credentials, error) {
	c := credentials{AccessKey: "PGBULK" + rand.Text()[:14], SecretKey: rand.Text() + rand.Text()[:14]}
	data, err := json.Marshal(c)
	if err != nil {
		return credentials{}, fmt.Errorf("write credentials: %w", err)
	}
	tmp := path + ".new" // renamed, so that a crash leaves no half of it
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return credentials{}, fmt.Errorf("write credentials: %w", err)
	}
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return credentials{}, fmt.Errorf("write credentials: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return credentials{}, fmt.Errorf("write credentials: %w", err)
	}
	return c, nil
}

// LogValue keeps the secret out of logs.
func (s *Server) LogValue() slog.Value {
	return slog.GroupValue(slog.String("endpoint", s.Endpoint), slog.String("bucket", s.Bucket))
}

// String keeps the secret out of what %v and %s print.
func (s *Server) String() string { return s.Endpoint + "/" + s.Bucket }
