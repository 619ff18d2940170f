package embedded

import (
	"context"
	"log/slog"

	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Serve starts a server for a store.Config with an EmbeddedDir; it is what
// store.Deps.Embedded wants.
func Serve(ctx context.Context, dir string, logger *slog.Logger) (store.Served, error) {
	s, err := Start(ctx, Config{Dir: dir, Logger: logger})
	if err != nil {
		return store.Served{}, err
	}
	return store.Served{
		Endpoint: s.Endpoint, Region: s.Region, Bucket: s.Bucket,
		AccessKey: s.AccessKey, SecretKey: store.Secret(s.SecretKey), Close: s.Close,
	}, nil
}
