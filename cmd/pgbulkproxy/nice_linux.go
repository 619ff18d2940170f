package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

// setNice sets the niceness of this session's autogroup (sched(7)). That of its threads,
// which setpriority(2) sets, counts only among themselves: beside 12 server processes, each
// a session of its own, a proxy that works for 12 loads has a thirteenth of the
// processors by right, and what it relays waits behind them all.
func setNice(n int) error {
	if leader, _, errno := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0); errno != 0 || int(leader) != os.Getpid() {
		return errors.New("the proxy shares its session with other programs; run it as a service, or by setsid(1)")
	}
	return os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(n)), 0)
}
