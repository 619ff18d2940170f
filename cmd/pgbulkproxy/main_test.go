package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// asCommand makes the test binary behave as pgbulkproxy, for tests that start
// it by themselves.
const asCommand = "PGBULK_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	testscript.Main(runner{m}, map[string]func(){"pgbulkproxy": main})
}

// runner has testenv own the servers, and testscript the commands.
type runner struct{ m *testing.M }

// Run implements testscript.TestingM.
func (r runner) Run() int { return testenv.Main(r.m) }

// TestScripts runs testdata/script. Each script has a database of its own; its
// superuser's DSN is $DSN, that of a role without rights $ROLE_DSN.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			pg := testenv.Postgres(tb)
			db, role := pg.NewDatabase(tb), pg.NewRole(tb, "")
			env.Setenv("DSN", pg.DSN(db, "postgres"))
			env.Setenv("ROLE_DSN", pg.DSN(db, role))
			env.Setenv("ROLE", role)
			env.Setenv("DB", db)
			env.Setenv("UPSTREAM", pg.Addr)
			env.Setenv("LC_ALL", "C")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"sql": sqlCommand},
	})
}
