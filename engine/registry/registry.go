package registry

import (
	"fmt"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/plain"
	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
)

// Row is one engine.
type Row struct {
	// Name is the value of --engine.
	Name string
	// New returns the engine.
	New func() engine.Engine
	// Tested says on which servers its tests were run; empty: on none.
	Tested string
}

// Rows returns the engines, in the order in which help texts show them.
func Rows() []Row {
	return []Row{
		{Name: "postgres", New: postgres.New, Tested: "PostgreSQL 14 to 18"},
		{Name: "plain", New: plain.New, Tested: "PostgreSQL 14 to 18"},
	}
}

// Names returns the names of the known engines.
func Names() []string {
	var names []string
	for _, r := range Rows() {
		names = append(names, r.Name)
	}
	return names
}

// ByName returns the engine of that name. The error lists the known ones.
func ByName(name string) (engine.Engine, error) {
	for _, r := range Rows() {
		if r.Name == name {
			return r.New(), nil
		}
	}
	return nil, fmt.Errorf("unknown engine %q: known are %s", name, strings.Join(Names(), ", "))
}
