package doctor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// memoryFree is what the machine has, or what its control group leaves of it; 0
// where neither says.
func memoryFree() int64 {
	free := int64(0)
	text, _ := os.ReadFile("/proc/meminfo")
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			free = kib << 10
		}
	}
	group, _ := os.ReadFile("/proc/self/cgroup")
	for _, line := range strings.Split(string(group), "\n") {
		path, ok := strings.CutPrefix(line, "0::")
		if !ok {
			continue
		}
		dir := filepath.Join("/sys/fs/cgroup", path)
		limit, ok := number(filepath.Join(dir, "memory.max"))
		used, ok2 := number(filepath.Join(dir, "memory.current"))
		if ok && ok2 && limit > used && (free == 0 || limit-used < free) {
			free = limit - used
		}
	}
	return free
}

func number(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// openFiles is the limit of open files. Go raises the soft limit to the hard one
// when the process starts.
func openFiles() uint64 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return r.Cur
}

// diskFree is what a user may still write in a directory.
func diskFree(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, &os.PathError{Op: "look at", Path: dir, Err: err}
	}
	return int64(s.Bavail) * s.Bsize, nil
}
