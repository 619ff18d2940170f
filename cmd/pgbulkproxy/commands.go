package main

import (
	"strings"

	"github.com/alecthomas/kong"

	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// commands is the registry of sub-commands: one line each.
func commands() []kong.Option {
	return []kong.Option{
		kong.DynamicCommand("serve", "Run the proxy.", "", &serveCmd{}),
		kong.DynamicCommand("install", "Install what the engine needs in one database.", "", &installCmd{}),
		kong.DynamicCommand("loads", "Show the loads of one database, wait for them and manage them.", "", &loadsCmd{}),
		kong.DynamicCommand("routing", "Make, undo and show tables with an auxiliary table.", "", &routingCmd{}),
		kong.DynamicCommand("migrate", "Move groups of routed tables between main and auxiliary table.", "", &migrateCmd{}),
		kong.DynamicCommand("doctor", "Try everything that loads need, and say what to do about what fails.", "", &doctorCmd{}),
		kong.DynamicCommand("explain", "Say how a statement would be treated, and why.", "", &explainCmd{}),
		kong.DynamicCommand("demo", "Try it: a private PostgreSQL, an S3 server and the proxy.", "", &demoCmd{}),
		kong.DynamicCommand("version", "Print the version.", "", &versionCmd{}),
	}
}

// helpTexts gives kong the documentation of each key as ${key_…}, so that flags
// and docs/configuration.md say the same, and the names of the engines.
func helpTexts() kong.Vars {
	vars := kong.Vars{"engines": strings.Join(registry.Names(), ", ")}
	for _, k := range config.Keys() {
		text := k.Doc
		if k.Default != "" && k.Kind != config.Bool {
			text += " Default " + k.Default + "."
		}
		vars["key_"+strings.ReplaceAll(k.Name, ".", "_")] = text
	}
	return vars
}
