package main

import (
	"syscall"
	"time"
)

// sleepUntil waits as long as the network would between a chunk and its arrival,
// which relayDelay puts at half a millisecond. It asks the system, because the
// timers of Go round up to a whole millisecond when nothing else is to be done.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		ts := syscall.NsecToTimespec(left.Nanoseconds())
		// It returns early on a signal: the loop sleeps on.
		_ = syscall.Nanosleep(&ts, nil)
	}
}
