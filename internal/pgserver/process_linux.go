package pgserver

import "syscall"

const libraryPathVariable = "LD_LIBRARY_PATH"

// processAttributes puts the child into its own group, so that a terminal's
// Ctrl-C reaches only us, and lets the kernel stop it when we die: SIGQUIT is
// PostgreSQL's immediate shutdown, which ends its backends too.
func processAttributes(a account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT, Credential: a.cred}
}
