package testenv

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// inMemory is Linux's file system without a disk.
const inMemory = "/dev/shm"

// room is what it must have free, and the machine besides: the servers of one test
// binary have been seen to need less than half of it.
const room = 4 << 30

// parentDir is where the servers' folders are made. A database has hundreds of files,
// and the tests make and remove thousands of databases: on a disk's file system that
// takes half of all their time, so that they go to one in memory if there is room. A
// TMPDIR that is set has the last word.
func parentDir() string {
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(inMemory, &fs) == nil &&
		uint64(fs.Bavail)*uint64(fs.Bsize) >= room && freeMemory() >= room {
		return inMemory
	}
	return os.TempDir()
}

// freeMemory is how many bytes programs can still have, 0 where nobody says.
func freeMemory() uint64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			var kib uint64
			if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
