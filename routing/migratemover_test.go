package routing

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// The variables that make this test binary one migration.
const (
	moverDSN     = "PGBULK_TEST_MOVER_DSN"
	moverOptions = "PGBULK_TEST_MOVER_OPTIONS"
)

// runMover is the whole life of a migration's process. It writes a line when it
// begins.
func runMover(dsn string) int {
	var o MigrateOptions
	err := json.Unmarshal([]byte(os.Getenv(moverOptions)), &o)
	if err == nil {
		fmt.Println("begins")
		err = moveAll(dsn, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func moveAll(dsn string, o MigrateOptions) error {
	conn, err := connectMigrator(dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	r, err := Migrate(context.Background(), conn, pairT, o)
	if err == nil && len(r.Failed) > 0 {
		err = r.Failed[0]
	}
	return err
}

// mover starts migrations as processes of their own and kills some.
type mover struct {
	t     testing.TB
	dsn   string
	rng   *rand.Rand
	kills int
	ends  int // of themselves
}

// longestLife is how long a migration that is to be killed lives at most: about
// as long as one that ends by itself.
const longestLife = 250 * time.Millisecond

// run runs one migration, and kills it at some moment unless whole.
func (m *mover) run(o MigrateOptions, whole bool) {
	m.t.Helper()
	options, err := json.Marshal(o)
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), moverDSN+"="+m.dsn, moverOptions+"="+string(options))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	s := bufio.NewScanner(out)
	begun := s.Scan()
	if !whole {
		life := time.Duration(m.rng.Int64N(int64(longestLife)))
		timer := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	for s.Scan() {
	}
	err = cmd.Wait()
	switch {
	case err == nil:
		m.ends++
	case cmd.ProcessState.ExitCode() == -1 && !whole:
		m.kills++
	default:
		m.t.Errorf("migration (begun: %v): %v", begun, err)
	}
}
