package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processors is the processor time, in seconds, that everything has taken so far
// which a load needs: clients, server, proxy and object store. Other than elapsed
// time it hardly depends on what else the machine does.
func (l *lab) processors(ctx context.Context, px *proxy) (float64, error) {
	if err := l.cluster.alone(ctx); err != nil {
		return 0, err
	}
	var sum float64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		sum += time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
	}
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(l.cluster.server.LogFile()), "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("find the server's process: %w", err)
	}
	first, _, _ := strings.Cut(string(pid), "\n")
	pids := []string{strings.TrimSpace(first)}
	if px.daemon != nil {
		pids = append(pids, strconv.Itoa(px.pid()), strconv.Itoa(l.s3.pid()))
	}
	for _, pid := range pids {
		used, err := processorTime(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// ticksPerSecond is what the kernel counts in for programs, on every Linux.
const ticksPerSecond = 100

// processorTime is that of a process and of its children that have ended.
func processorTime(pid string) (float64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	// The name, which may hold anything, ends with the last parenthesis; utime,
	// stime, cutime and cstime are the 12th to 15th word behind it.
	words := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	if len(words) < 15 {
		return 0, fmt.Errorf("read processor time of %s: %d words", pid, len(words))
	}
	var ticks int64
	for _, word := range words[11:15] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time of %s: %w", pid, err)
		}
		ticks += n
	}
	return float64(ticks) / ticksPerSecond, nil
}

// alone waits until the clients' server processes have ended: only then does the
// kernel tell what they took.
func (c *cluster) alone(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for quiet := 0; ; {
		var n int
		err := c.admin.QueryRow(ctx, "select pg_catalog.count(*) from pg_catalog.pg_stat_activity where usename = $1", benchUser).Scan(&n)
		if quiet++; n > 0 {
			quiet = 0
		}
		if err != nil || quiet > 10 {
			return err // they say so shortly before they end
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
