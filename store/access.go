package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Access is Config with the credentials of the moment filled in, for servers that
// are to read the bucket themselves: also those that the AWS chain gives.
func (b *Bucket) Access(ctx context.Context) (Config, error) {
	now := b.client.now.Load()
	if now.cfg.AccessKey != "" {
		return now.cfg, nil
	}
	return now.access(ctx)
}

// access asks the AWS chain, which keeps its answer while it is valid.
func (s *s3Store) access(ctx context.Context) (Config, error) {
	chain := s.client.Options().Credentials
	if chain == nil {
		return Config{}, errors.New("store: no credentials")
	}
	got, err := chain.Retrieve(ctx)
	if err != nil {
		return Config{}, fmt.Errorf("store: credentials: %w", s.scrub(err))
	}
	cfg := s.cfg
	cfg.AccessKey, cfg.SecretKey, cfg.SessionToken = got.AccessKeyID, Secret(got.SecretAccessKey), Secret(got.SessionToken)
	return cfg, nil
}

// Host is the host of the S3 server, with its port where one is given.
func (c Config) Host() string {
	if c.Endpoint == "" {
		return "s3." + c.Region + ".amazonaws.com"
	}
	_, host, _ := strings.Cut(c.Endpoint, "://")
	return strings.TrimSuffix(host, "/")
}
