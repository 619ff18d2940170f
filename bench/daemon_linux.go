package main

import "syscall"

// dieWithParent has the kernel end a child when we are gone, however we went.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
