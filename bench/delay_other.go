//go:build !linux

package main

import "time"

// sleepUntil waits as long as the network would; see delay_linux.go.
func sleepUntil(due time.Time) { time.Sleep(time.Until(due)) }
