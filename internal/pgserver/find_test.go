package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// install makes a directory with files that look like binaries.
func install(t *testing.T, dir string, names ...string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindExplicit(t *testing.T) {
	t.Parallel()
	good := install(t, filepath.Join(t.TempDir(), "bin"), "initdb", "postgres")
	if dir, err := Find(t.Context(), good); dir != good || err != nil {
		t.Errorf("%s, %v", dir, err)
	}
	half := install(t, t.TempDir(), "initdb")
	if _, err := Find(t.Context(), half); !errors.Is(err, ErrNoBinaries) {
		t.Errorf("%v", err)
	}
}

func TestFindInPath(t *testing.T) {
	real := install(t, filepath.Join(t.TempDir(), "bin"), "initdb", "postgres")
	links := t.TempDir()
	if err := os.Symlink(filepath.Join(real, "initdb"), filepath.Join(links, "initdb")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", links)
	if dir, err := Find(t.Context(), ""); dir != real || err != nil {
		t.Errorf("a link: %s, %v", dir, err)
	}
	script := "#!/bin/sh\necho " + real + "\n"
	if err := os.WriteFile(filepath.Join(links, "pg_config"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(links, "initdb")); err != nil {
		t.Fatal(err)
	}
	if dir, err := Find(t.Context(), ""); dir != real || err != nil {
		t.Errorf("pg_config: %s, %v", dir, err)
	}
}

func TestNewest(t *testing.T) {
	root := t.TempDir()
	for _, version := range []string{"9.6", "9.5", "10", "15"} {
		install(t, filepath.Join(root, "pg", version, "bin"), "initdb", "postgres")
	}
	install(t, filepath.Join(root, "pg", "16", "bin"), "psql")
	t.Chdir(root) // its path may have numbers of its own
	if got := newest("pg/*/bin"); got != "pg/15/bin" {
		t.Errorf("newest is %q", got)
	}
	if got := newest("none/*"); got != "" {
		t.Errorf("found %q", got)
	}
}

func TestLibraryEnv(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	bin := install(t, filepath.Join(root, "bin"))
	if env := libraryEnv(bin); env != nil {
		t.Errorf("without lib: %q", env)
	}
	lib := install(t, filepath.Join(root, "lib"), "plpgsql.so")
	if env := libraryEnv(bin); env != nil {
		t.Errorf("with modules only: %q", env)
	}
	install(t, lib, "libpq.so.5")
	if env := libraryEnv(bin); len(env) != 1 || env[0] != libraryPathVariable+"="+lib {
		t.Errorf("relocatable: %q", env)
	}
}
