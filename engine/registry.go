package engine

import (
	"fmt"
	"strings"
)

// all lists the engines, in the order in which help texts show them.
func all() []Engine { return []Engine{NewPostgres(), NewPlain()} }

// Names returns the names of the known engines.
func Names() []string {
	var names []string
	for _, e := range all() {
		names = append(names, e.Name())
	}
	return names
}

// ByName returns the engine of that name. The error lists the known ones.
func ByName(name string) (Engine, error) {
	for _, e := range all() {
		if e.Name() == name {
			return e, nil
		}
	}
	return nil, fmt.Errorf("unknown engine %q: known are %s", name, strings.Join(Names(), ", "))
}
