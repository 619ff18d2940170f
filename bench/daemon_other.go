//go:build !linux

package main

import "syscall"

// dieWithParent does nothing where the kernel has no such service: children
// then end only by our own clean-up.
func dieWithParent(*syscall.SysProcAttr) {}
