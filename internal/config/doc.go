// Package config turns defaults, a file, the environment and flags into one
// Config that is known to be right.
//
// It owns: the table of keys (keys.go), which is the single source for
// loading, bounds, help and docs/configuration.md, and the masking of secrets.
// It never opens connections, never reads credentials of S3 (the AWS chain
// does) and never logs.
//
// The life of one configuration:
//
//  1. Load puts the layers on each other: defaults, YAML file, environment
//     (PGBULK_…), flags, --set. A later layer wins key by key.
//  2. Each layer is checked against the table when it is read, so that an
//     error names the layer and the key: unknown keys, wrong kinds and values
//     out of bounds are refused.
//  3. Validate checks what concerns several keys at once.
//  4. String and Settings show it with its secrets masked.
//
// To debug: `pgbulkproxy serve --log-level debug` logs the settings that differ
// from their defaults.
package config
