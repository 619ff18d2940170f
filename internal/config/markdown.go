package config

import (
	"fmt"
	"strings"
)

// Markdown returns docs/configuration.md. A test holds the file up to date.
func Markdown() string {
	var b strings.Builder
	b.WriteString(markdownHead)
	b.WriteString("| key | default | allowed | meaning |\n|---|---|---|---|\n")
	for _, k := range Keys() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, code(k.Default), k.Bounds(), escape(k.Doc))
	}
	b.WriteString("\n## Environment variables\n\nOne for each key:\n\n")
	for _, k := range Keys() {
		fmt.Fprintf(&b, "- `%s` → `%s`\n", EnvName(k.Name), k.Name)
	}
	return b.String()
}

// Help returns the table's keys, defaults and bounds as plain text for the
// command line, a line each.
func Help() string {
	var b strings.Builder
	for _, k := range Keys() {
		b.WriteString("  " + k.Name)
		if k.Default != "" {
			b.WriteString(" = " + k.Default)
		}
		if bounds := k.Bounds(); bounds != "" {
			b.WriteString(" (" + bounds + ")")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const markdownHead = `# Configuration

<!-- Written by: go test ./internal/config -update -->

Each setting has one dotted key. It can be given in five places; a later one
wins, key by key:

1. the default,
2. a YAML file: ` + "`--config FILE.yaml`" + ` or ` + "`PGBULK_CONFIG=FILE.yaml`" + `,
3. the environment: ` + "`PGBULK_STAGE_MIN_BYTES=8MiB`" + ` (an empty variable counts as unset),
4. a flag, for the settings that have one: ` + "`--upstream db:5432`" + `,
5. ` + "`--set stage.min_bytes=8MiB`" + `, which may be repeated.

An unknown key, a value of the wrong kind and a value out of bounds are errors
at start; they name the key and the bound. Passwords are masked wherever the
proxy shows its settings. A DSN with a password is better given by environment
or file than on the command line, where every user of the machine can read it.

Sizes are bytes, or a number with a unit: ` + "`64MiB`" + ` counts by 1024, ` + "`64MB`" + ` by 1000.
Durations are Go's (` + "`500ms`, `30s`, `1h30m`" + `) with days in front: ` + "`7d`, `1d12h`" + `.

A file may nest keys or write them dotted:

` + "```yaml" + `
upstream: db.internal:5432
store: s3://staging/bulk?region=eu-central-1
stage:
  min_bytes: 4MiB
  file_bytes: 64MiB
log.level: debug
` + "```" + `

## Keys

`
