package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the operating system user that the children run as: nil cred when
// that is the user we are.
type account struct {
	name string
	cred *syscall.Credential
}

// childAccount chooses the children's user. PostgreSQL refuses to run as root.
func childAccount(name string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	names := []string{Superuser, "nobody"}
	if name != "" {
		names = []string{name}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if unknown := (user.UnknownUserError)(""); errors.As(err, &unknown) {
			continue
		}
		if err != nil {
			return account{}, fmt.Errorf("look up user %s: %w", name, err)
		}
		return newAccount(u)
	}
	return account{}, fmt.Errorf("root cannot run PostgreSQL and there is no user %q", names)
}

func newAccount(u *user.User) (account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	if uid == 0 {
		return account{}, fmt.Errorf("user %s is root, which cannot run PostgreSQL", u.Username)
	}
	// Without its other groups (ssl-cert on Debian) only less works; that is no
	// reason not to start.
	var groups []uint32
	if ids, err := u.GroupIds(); err == nil {
		for _, id := range ids {
			if g, err := strconv.ParseUint(id, 10, 32); err == nil {
				groups = append(groups, uint32(g))
			}
		}
	}
	return account{name: u.Username, cred: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups}}, nil
}

// own makes dir private to the account, with all its content.
func (a account) own(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	if a.cred == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.cred.Uid), int(a.cred.Gid))
	})
}

// canEnter checks that the account may traverse every parent of path, so that
// the reason stands in our error and not in a child's puzzling one.
func (a account) canEnter(path string) error {
	if a.cred == nil {
		return nil
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if !a.mayTraverse(info) {
			return fmt.Errorf("user %s, as which the server runs, may not enter %s, a parent of %s", a.name, dir, path)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func (a account) mayTraverse(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := info.Mode().Perm()
	if st.Uid == a.cred.Uid {
		return mode&0o100 != 0
	}
	for _, g := range append([]uint32{a.cred.Gid}, a.cred.Groups...) {
		if st.Gid == g {
			return mode&0o010 != 0
		}
	}
	return mode&0o001 != 0
}
