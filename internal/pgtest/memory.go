package pgtest

import (
	"fmt"
	"slices"
	"sync"
)

// Memory keeps the oracle's transcripts of one server, so that several ways
// through the proxy are compared with one run of it. Another run would say the
// same, as TestScriptsAreDeterministic shows. Comparisons may share one if neither
// has Pairs and both prepare their databases alike. The zero value is good, and may
// be used by several goroutines; nil keeps nothing.
type Memory struct {
	mu    sync.Mutex
	lines map[string][]string
}

// recall returns the transcript of a case. It is run where it was not before; a
// run that ends the test is not kept.
func (m *Memory) recall(script *Script, c *Case, extended bool, run func() []string) []string {
	if m == nil {
		return run()
	}
	key := fmt.Sprintf("%s\x00%s\x00%t", script.Path, c.Name, extended)
	m.mu.Lock()
	lines, known := m.lines[key]
	m.mu.Unlock()
	if known {
		return slices.Clone(lines)
	}
	lines = run()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lines == nil {
		m.lines = map[string][]string{}
	}
	m.lines[key] = slices.Clone(lines)
	return lines
}
