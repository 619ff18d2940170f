package killmatrix

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// smallDisk mounts a disk of a few megabytes, until the test ends.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgbulk-disk-")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=0777,size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		_ = os.Remove(dir)
		t.Skipf("a small disk cannot be mounted here: %v: %s", err, out)
	}
	// The servers that use it have ended by then: this is the first cleanup.
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v: %s", err, out)
		}
		_ = os.Remove(dir)
	})
	return dir
}

// fill takes so many bytes of a disk, until the function it returns is called.
func fill(t *testing.T, dir string, bytes int) (empty func()) {
	t.Helper()
	file := filepath.Join(dir, "filler")
	if err := os.WriteFile(file, make([]byte, bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// alone is one client of a bed.
func (b *bed) alone() *client {
	b.t.Helper()
	c := &client{b: b, door: b.doors[0], rng: random(b.ack)}
	b.eventually(func() string {
		if !c.connect(nil) {
			return "no session"
		}
		return ""
	})
	b.t.Cleanup(c.hangUp)
	return c
}

// copies runs a COPY of some more than so many rows into a table, as a unit of
// its own.
func (c *client) copies(table string, rows int) error {
	u := &unit{what: table, fate: committed}
	l := c.load(u)
	l.rows = rows + int(l.id)
	c.units = append(c.units, u)
	_, err := c.copyIn(u, l, "COPY "+table+" (load, n, pad) FROM STDIN", textRows(l))
	if err != nil {
		u.fate = aborted
	}
	return err
}

// TestDiskFull: where the server's disk is full, the client hears it from the
// server, and nothing else is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "8m")
	b := newBed(t, options{ack: loaded})
	b.pg.Chown(t, dir)
	b.must(fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", dir))
	for _, table := range []string{"t", "u"} { // by external tables, by COPY
		b.must("ALTER TABLE " + table + " SET TABLESPACE small")
		spare := fill(t, dir, 64<<10)
		c := b.alone()
		if err := c.copies(table, 3000); err != nil {
			t.Fatal(err)
		}
		var e *pgconn.PgError
		if err := c.copies(table, 200000); !errors.As(err, &e) || e.Code != "53100" || e.Hint != "Check free disk space." ||
			!strings.Contains(e.Message, "No space left on device") || strings.Contains(e.Where, "pgbulk.") {
			t.Errorf("table %s: %+v", table, err)
		}
		spare()                   // which VACUUM needs
		b.must("VACUUM " + table) // what was written without a commit still fills it
		if err := c.copies(table, 2500); err != nil {
			t.Error(err)
		}
		c.hangUp()
		if problem := b.await(func() string { return b.check(c.units) }); problem != "" {
			t.Error(problem)
		}
		b.settle()
		b.must("ALTER TABLE " + table + " SET TABLESPACE pg_default")
	}
	b.must("DROP TABLESPACE small")
}

// TestStoreDiskFull: a store without room costs speed, and says why in the log.
// Loads are staged again when there is room.
func TestStoreDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "4m")
	b := newBed(t, options{ack: loaded, shared: true, env: []string{"PGBULK_STORE=embedded:" + dir, "PGBULK_STAGE_FILE_BYTES=1MiB"}})
	c := b.alone()
	for _, table := range []string{"t", "u"} {
		empty := fill(t, dir, 3<<20)
		if err := c.copies(table, 100000); err != nil {
			t.Errorf("table %s: %v", table, err)
		}
		if log := b.proxies[0].logged(); !strings.Contains(log, "stage file, going on natively") {
			t.Errorf("the log does not say that the store is full:\n%s", log)
		}
		empty()
		b.eventually(func() string { // when the breaker lets it
			before := len(b.staged())
			if err := c.copies(table, 3000); err != nil {
				return err.Error()
			}
			if len(b.staged()) == before {
				return "nothing is staged"
			}
			return ""
		})
	}
	c.hangUp()
	if problem := b.await(func() string { return b.check(c.units) + objects(dir) }); problem != "" {
		t.Error(problem)
	}
}

// staged are the ids of the loads that went through the store.
func (b *bed) staged() [][][]byte {
	b.t.Helper()
	return b.must("SELECT process_id FROM pgbulk.load_file")
}

// objects lists what is left in the folder of a store.
func objects(dir string) (left string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && loadID.MatchString(path) {
			left += path + "\n"
		}
		return err
	})
	if err != nil {
		left += err.Error()
	}
	return left
}
