package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// resetPeak makes the kernel forget the peak of a process's resident memory, so
// that peakRSS speaks of what follows.
func resetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset peak memory: %w", err)
	}
	return nil
}

// peakRSS returns the largest resident memory of a process in bytes since
// resetPeak or its start.
func peakRSS(pid int) (int64, error) { return statusSize(pid, "VmHWM") }

// currentRSS returns its resident memory of the moment.
func currentRSS(pid int) (int64, error) { return statusSize(pid, "VmRSS") }

func statusSize(pid int, field string) (int64, error) {
	kib, err := parseKiB(procField(fmt.Sprintf("/proc/%d/status", pid), field))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", field, err)
	}
	return kib << 10, nil
}

// parseKiB reads the "1234 kB" of /proc files, which means units of 1024 bytes.
func parseKiB(s string) (int64, error) {
	number, ok := strings.CutSuffix(s, " kB")
	if !ok {
		return 0, fmt.Errorf("%q is no size in kB", s)
	}
	return strconv.ParseInt(strings.TrimSpace(number), 10, 64)
}
