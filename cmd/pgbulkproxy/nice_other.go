//go:build !linux

package main

import "errors"

// setNice says that there are no autogroups here.
func setNice(int) error { return errors.ErrUnsupported }
