//go:build unix && !linux

package pgserver

import "syscall"

const libraryPathVariable = "DYLD_LIBRARY_PATH"

// processAttributes puts the child into its own group, so that a terminal's
// Ctrl-C reaches only us. Only Linux can tie its life to ours; elsewhere a
// server outlives a parent that was killed without the chance to call Stop.
func processAttributes(a account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: a.cred}
}
