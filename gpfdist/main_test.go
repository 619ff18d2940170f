package gpfdist

import (
	"os"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }
