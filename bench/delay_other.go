//go:build !linux

package main

import "time"

// sleepUntil is the delay of the network that is measured; delay_linux.go has one that
// is more exact.
func sleepUntil(due time.Time) { time.Sleep(time.Until(due)) }
