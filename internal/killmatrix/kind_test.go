package killmatrix

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// kind is a kind of server with an engine, and what is different there.
type kind struct {
	server func(testing.TB) *testenv.PG
	// prepare makes the tables t and u: a load into u goes another way than one
	// into t. tx is the column that says in which transaction a row came, if there is one.
	prepare func(*bed)
	tx      string
	// env are settings of the proxies, which reach the server by an address.
	env func(b *bed, upstream string) []string
	// ledger: there is one.
	ledger bool
	// left counts what nobody needs any more: external tables, parts of transactions.
	left string
	// endPart ends what works for one client elsewhere than on its server, if it does.
	endPart func(*bed)
	// finish has the server complete what it would complete later by itself.
	finish string
	// ends are the SQLSTATEs that clients may be told when a part of the server ends.
	ends []string
}

// ownServer is PostgreSQL, one of the test's own unless it is shared.
func ownServer(shared bool) *kind {
	return &kind{
		server: func(t testing.TB) *testenv.PG {
			if shared {
				return testenv.Postgres(t)
			}
			// A commit must survive a crash of the server.
			return testenv.PrivatePostgres(t, func(c *pgserver.Config) { c.Settings["synchronous_commit"] = "on" })
		},
		prepare: func(b *bed) {
			admin := b.pg.Connect(b.t, b.db, "postgres")
			defer admin.Close(context.Background())
			if err := installer.Run(b.t.Context(), admin.PgConn(), installer.SQL(postgres.New(), "")); err != nil {
				b.t.Fatal(err)
			}
			b.must(createTables)
		},
		tx:     "tx",
		env:    withLedger,
		ledger: true,
		left:   foreignTables,
	}
}

const foreignTables = "SELECT count(*) FROM pg_catalog.pg_foreign_table"

// createTables: a load into u has to be one statement.
const createTables = `
	CREATE TABLE t (load bigint, n int, pad text, tx bigint DEFAULT pg_catalog.txid_current());
	CREATE TABLE u (LIKE t INCLUDING ALL);
	CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER nothing AFTER INSERT ON u FOR EACH STATEMENT EXECUTE FUNCTION nothing()`

// withLedger are the settings of proxies that have one.
func withLedger(b *bed, upstream string) []string {
	return []string{
		"PGBULK_SERVICE_DSN=" + by(b.pg, "postgres", upstream),
		"PGBULK_LOAD_METHOD=external",
		"PGBULK_LEASE_DISCOVER=off", "PGBULK_LEASE_TIMEOUT=" + leaseTimeout.String(), "PGBULK_LOAD_IMPORT_ERROR_SLEEP_TIME=20ms",
	}
}

// by is a superuser's connection string by way of another address.
func by(pg *testenv.PG, db, addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("%s host=%s port=%s", pg.TCPDSN(db, "postgres"), host, port)
}
