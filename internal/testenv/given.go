package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
)

// GreenplumDSN names the variable with the connection string of a Greenplum
// cluster's superuser.
const GreenplumDSN = "PGBULK_TEST_GREENPLUM_DSN"

// Greenplum returns the cluster that GreenplumDSN names. The test is left out
// where there is none. It is trusted as the servers that we start are: whatever
// role connects from here needs no password but the one in the string.
func Greenplum(tb testing.TB) *PG { tb.Helper(); return Given(tb, GreenplumDSN) }

// Given returns the server whose superuser's connection string stands in an
// environment variable, and leaves the test out where none does. "postgres" means
// that superuser, whatever its name is. It is never stopped.
func Given(tb testing.TB, variable string) *PG {
	tb.Helper()
	dsn := os.Getenv(variable)
	if dsn == "" {
		tb.Skip(variable + " is not set: no such server to test with")
	}
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		tb.Fatal("testenv: ", variable, ": ", err)
	}
	pg := &PG{Host: cfg.Host, Port: int(cfg.Port), given: cfg}
	pg.Addr = net.JoinHostPort(pg.Host, strconv.Itoa(pg.Port))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if pg.version, err = pg.readVersion(ctx); err != nil {
		tb.Fatal("testenv: ", variable, ": ", err)
	}
	return pg
}

// givenDSN is DSN for a given server.
func (pg *PG) givenDSN(db, user string) string {
	password := ""
	if user == pgserver.Superuser {
		user, password = pg.given.User, pg.given.Password
	}
	dsn := fmt.Sprintf("host=%s port=%d dbname=%s user=%s sslmode=disable", pg.Host, pg.Port, db, user)
	if password != "" {
		dsn += " password=" + password
	}
	return dsn
}
