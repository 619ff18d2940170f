package testenv

import (
	"syscall"
	"testing"
)

// CPURate reports, at the end of a benchmark whose rounds handle so many bytes
// each, how many megabytes were handled in a second of processor time of this
// process ("MB/cpu-s"): what the clock says on a busy machine says little. Call it
// in front of the rounds and what it returns behind them.
func CPURate(b *testing.B, bytes int) (report func()) {
	b.Helper()
	begin := cpuSeconds(b)
	return func() {
		b.Helper()
		b.ReportMetric(float64(bytes)*float64(b.N)/1e6/(cpuSeconds(b)-begin), "MB/cpu-s")
	}
}

// cpuSeconds is what the process has used.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
