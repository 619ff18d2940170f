package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/engine/citus"
	"github.com/pgbulkproxy/pgbulkproxy/engine/greenplum"
	"github.com/pgbulkproxy/pgbulkproxy/engine/plain"
	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/engine/relyt"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
)

// Row is one engine.
type Row struct {
	// Name is the value of --engine.
	Name string
	// New returns the engine.
	New func() engine.Engine
	// Tested says on which servers its tests were run; empty: on none.
	Tested string
	// Detect says why a server is one for this engine, or "" where it is not.
	Detect func(check.Facts) string
	// Checks are what a load needs beside a server and a store; nil: nothing.
	Checks func() []check.Check
}

// Untested says that the engine was never run on a real server.
func (r Row) Untested() bool { return r.Tested == "" }

// Rows returns the engines, in the order in which help texts show them. Of those that
// detect the same server the last one is meant: the most general stand first.
func Rows() []Row {
	return []Row{
		{Name: "postgres", New: postgres.New, Tested: "PostgreSQL 14 to 18",
			Detect: check.DetectPostgres, Checks: sealed.Checks},
		{Name: "plain", New: plain.New, Tested: "PostgreSQL 14 to 18",
			Detect: check.DetectPlain},
		{Name: "citus", New: citus.New, Tested: "Citus 13.2 on PostgreSQL 15",
			Detect: check.DetectCitus, Checks: sealed.Checks},
		{Name: "greenplum", New: greenplum.New, Tested: "Greenplum 6.24; not 7, nor Cloudberry",
			Detect: check.DetectGreenplum, Checks: greenplum.Checks},
		{Name: "relyt", New: relyt.New, Detect: check.DetectRelyt},
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

// Find returns the row of an engine.
func Find(name string) (Row, bool) {
	rows := Rows()
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })
	if i < 0 {
		return Row{}, false
	}
	return rows[i], true
}

// Detect returns the engine for a server, and why it is that one.
func Detect(f check.Facts) (r Row, why string) {
	for _, r := range slices.Backward(Rows()) {
		if why := r.Detect(f); why != "" {
			return r, why
		}
	}
	r, _ = Find("plain")
	return r, "a server that is not known"
}

// ByName returns the engine of that name. The error lists the known ones.
func ByName(name string) (engine.Engine, error) {
	if r, ok := Find(name); ok {
		return r.New(), nil
	}
	return nil, fmt.Errorf("unknown engine %q: known are %s", name, strings.Join(Names(), ", "))
}
