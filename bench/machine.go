package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// Machine says what the figures were measured with.
type Machine struct {
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	MemoryMiB int64  `json:"memory_mib,omitempty"`
	OS        string `json:"os"`
	Go        string `json:"go"`
	Postgres  string `json:"postgres,omitempty"`
	PgBouncer string `json:"pgbouncer,omitempty"`
	// Commit is of the checkout the proxy was built from, with "+" after it
	// where files differ from that commit.
	Commit string `json:"commit,omitempty"`
}

// String is the one line that a report opens with.
func (m Machine) String() string {
	parts := []string{fmt.Sprintf("%s, %d cores", m.CPU, m.Cores)}
	if m.MemoryMiB > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB memory", m.MemoryMiB))
	}
	parts = append(parts, m.OS, m.Go)
	for _, p := range []struct{ name, value string }{
		{"PostgreSQL", m.Postgres}, {"PgBouncer", m.PgBouncer}, {"commit", m.Commit},
	} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

// thisMachine fills in what needs no database. What cannot be found out stays
// empty: a benchmark is still good for comparison without its CPU's name.
func thisMachine(ctx context.Context) Machine {
	m := Machine{
		CPU:    procField("/proc/cpuinfo", "model name"),
		Cores:  runtime.NumCPU(),
		OS:     runtime.GOOS + "/" + runtime.GOARCH,
		Go:     runtime.Version(),
		Commit: output(ctx, "git", "rev-parse", "--short", "HEAD"),
	}
	if m.CPU == "" {
		m.CPU = "unknown CPU"
	}
	if kib, err := parseKiB(procField("/proc/meminfo", "MemTotal")); err == nil {
		m.MemoryMiB = kib >> 10
	}
	if m.Commit != "" && output(ctx, "git", "status", "--porcelain", "--untracked-files=no") != "" {
		m.Commit += "+"
	}
	return m
}

// procField returns the value of the first "name : value" line of a /proc file,
// or "" where there is none.
func procField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// output returns the trimmed output of a command, or "" where it cannot run.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func joinSettings(settings map[string]string) string {
	parts := make([]string, 0, len(settings))
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		parts = append(parts, k+" = "+settings[k])
	}
	return strings.Join(parts, ", ")
}
