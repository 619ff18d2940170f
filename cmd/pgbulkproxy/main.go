// Command pgbulkproxy is a proxy for PostgreSQL that turns bulk writes into
// loads from S3. Each sub-command is one file; commands.go lists them.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup stays nohup
		stop = append(stop, syscall.SIGHUP)
	}
	// Two: the second one must not get lost while the first is handled.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stop...)
	os.Exit(run(os.Args[1:], &app{
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		environ: os.Environ(),
		signals: signals,
	}))
}
