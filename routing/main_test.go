package routing

import (
	"os"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(moverDSN); dsn != "" {
		os.Exit(runMover(dsn))
	}
	os.Exit(testenv.Main(m))
}
