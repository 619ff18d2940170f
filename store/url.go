package store

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ParseURL reads the address of a store:
//
//	s3://bucket/prefix?endpoint=https://host:port&region=eu-central-1&path_style=true
//	embedded:/directory
//
// path_style is true by default where there is an endpoint, because most servers
// beside AWS are reached under one host name. The prefix, without slashes at its
// ends, is for whoever makes keys. Errors repeat no value: a URL may hold a
// secret in the wrong place.
func ParseURL(raw string) (cfg Config, prefix string, err error) {
	if dir, ok := strings.CutPrefix(raw, "embedded:"); ok {
		if dir == "" {
			return Config{}, "", errors.New("store URL: embedded: needs a directory")
		}
		return Config{EmbeddedDir: dir}, "", nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return Config{}, "", errors.New("store URL: not a URL")
	case u.Scheme != "s3":
		return Config{}, "", errors.New("store URL: must be s3://bucket/prefix or embedded:DIR")
	case u.User != nil:
		return Config{}, "", errors.New("store URL: credentials don't belong into it")
	case u.Host == "" || u.Port() != "":
		return Config{}, "", errors.New("store URL: needs a bucket and no port after s3://")
	case u.Fragment != "":
		return Config{}, "", errors.New("store URL: must not have a fragment")
	}
	cfg.Bucket = u.Host
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, "", errors.New("store URL: malformed query")
	}
	cfg.PathStyle = query.Get("endpoint") != ""
	for _, key := range slices.Sorted(maps.Keys(query)) {
		if len(query[key]) != 1 {
			return Config{}, "", fmt.Errorf("store URL: %s is given twice", key)
		}
		if err := cfg.set(key, query.Get(key)); err != nil {
			return Config{}, "", fmt.Errorf("store URL: %w", err)
		}
	}
	return cfg, strings.Trim(u.Path, "/"), nil
}

func (c *Config) set(key, value string) error {
	switch key {
	case "endpoint":
		c.Endpoint = value
		return validateEndpoint(value)
	case "region":
		c.Region = value
	case "path_style":
		on, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("path_style must be true or false")
		}
		c.PathStyle = on
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}
