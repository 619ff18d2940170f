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
// role connects from here needs no password but the one in the string. Its databases
// have the protocol s3, which loads go without in silence where it is not.
func Greenplum(tb testing.TB) *PG {
	tb.Helper()
	pg := Given(tb, GreenplumDSN)
	pg.furnish = func(db string) error { return pg.execIn(db, protocolS3) }
	return pg
}

// protocolS3 makes gpcloud's protocol, in a schema that no test empties, where the
// database has none of the cluster's template.
const protocolS3 = `DO $$ BEGIN
 IF NOT EXISTS (SELECT FROM pg_catalog.pg_extprotocol WHERE ptcname OPERATOR(pg_catalog.=) 's3') THEN
  CREATE SCHEMA gpcloud;
  CREATE FUNCTION gpcloud.read_from_s3() RETURNS integer AS '$libdir/gpcloud.so', 's3_import' LANGUAGE C STABLE;
  CREATE FUNCTION gpcloud.write_to_s3() RETURNS integer AS '$libdir/gpcloud.so', 's3_export' LANGUAGE C STABLE;
  CREATE TRUSTED PROTOCOL s3 (readfunc = gpcloud.read_from_s3, writefunc = gpcloud.write_to_s3);
 END IF;
END $$`

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
