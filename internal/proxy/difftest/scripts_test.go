package difftest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/proxytest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const scripts = "../../../testdata/wire"

// native is what the tests' server says to the scripts, in databases in which the proxy
// is installed; nativePlain is that of others, which have no extension of its.
var native, nativePlain pgtest.Memory

// differ compares the scripts of some folders with the direct connection.
func differ(t *testing.T, installed, extended bool, change func(*config.Config), dirs ...string) {
	t.Helper()
	stagedInserts := slices.Equal(dirs, []string{"insert"})
	pg := testenv.Postgres(t)
	direct, proxied := Start(t, pg, change).Targets(pg)
	o := pgtest.Options{Extended: extended, Memory: &native, Skip: func(_ string, c *pgtest.Case) string {
		switch {
		case stagedInserts && slices.Contains([]string{
			"lock timeout while a key is held", "statement timeout while a key is held", "cancel while waiting for a key", "deadlock",
		}, c.Name):
			return "docs/guarantees.md: the place of the row in the table, in the CONTEXT, counts the first try"
		case c.Name == "default function that may not be executed":
			return "docs/guarantees.md: the CopyInResponse comes before the same error"
		case extended && c.Name == "statement trigger raises before any data":
			return "docs/guarantees.md: a Sync sent before the data is ignored, also where the trigger fails before it is read"
		}
		return ""
	}}
	if !installed {
		o.Memory = &nativePlain
	} else {
		o.Prepare = func(t testing.TB, db string) { proxytest.Install(t, pg, db) }
	}
	t.Run("scripts", func(t *testing.T) {
		for _, dir := range dirs {
			t.Run(dir, func(t *testing.T) {
				t.Parallel()
				pgtest.RunDir(t, filepath.Join(scripts, dir), direct, proxied, o)
			})
		}
	})
}

// TestDifferentialExternal runs before the parallel tests, which have the server's
// answers in memory then. It is what load.method = external gives: files of COPY binary,
// and of the client's bytes where those do not fit. The INSERTs of it, with text, are
// TestDifferentialStagedInserts'.
func TestDifferentialExternal(t *testing.T) {
	differ(t, true, false, func(c *config.Config) {
		c.Load.Method, c.Load.Transcode = config.MethodExternal, config.TranscodeOn
	}, "copy", "routed", "session")
}

// TestDifferentialPlain has neither an installation nor a ledger, and sends text as
// COPY binary.
func TestDifferentialPlain(t *testing.T) {
	t.Parallel()
	differ(t, false, false, func(c *config.Config) {
		c.Engine, c.Load.Transcode, c.Sweep.Keep = "plain", config.TranscodeOn, config.KeepAlways
	},
		"copy", "insert", "routed", "session")
}

// transcoded sends files as COPY binary.
func transcoded(c *config.Config) {
	c.Load.Method, c.Load.Transcode = config.MethodAuto, config.TranscodeOn
}

// TestDifferentialExtended is what a new user has, in the extended protocol.
func TestDifferentialExtended(t *testing.T) {
	t.Parallel()
	differ(t, true, true, transcoded, "copy", "insert", "routed", "session")
}

// TestDifferentialTranscoded runs the scripts of COPYs so in the simple protocol.
func TestDifferentialTranscoded(t *testing.T) {
	t.Parallel()
	differ(t, true, false, transcoded, "copy")
}

// TestDifferentialStagedInserts runs the scripts of INSERTs, and stages each.
func TestDifferentialStagedInserts(t *testing.T) {
	t.Parallel()
	differ(t, true, false, func(c *config.Config) { c.Insert.StageBytes = 0 }, "insert")
}

// TestDifferentialHeld holds COPYs longer than most of the scripts' are.
func TestDifferentialHeld(t *testing.T) {
	t.Parallel()
	differ(t, true, false, func(c *config.Config) { c.Stage.MinBytes = 100 << 10 }, "copy", "session")
}
