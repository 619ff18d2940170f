package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// distribute makes tables of Citus of those that there are.
func (b *routedBed) distribute(t testing.TB, c *pgconn.PgConn) {
	t.Helper()
	if b.spread != "" {
		must(t, c, b.spread)
	}
}

// empty empties a database, and returns the SQL that makes it ready for a setup.
func (b *routedBed) empty(t testing.TB, db string) string {
	t.Helper()
	if !b.onCitus {
		return dropAll
	}
	if err := b.pg.EmptyPublic(db); err != nil {
		t.Fatal(err)
	}
	_, create, _ := strings.Cut(dropAll, ";")
	return create
}

// ofShards says that a constraint of a table of Citus is violated.
func ofShards(e *pgconn.PgError) bool {
	return e != nil && (e.Code == "XX000" || strings.HasPrefix(e.Code, "23"))
}

// routedNotOnCitus are cases in which Citus says something else of one table.
var routedNotOnCitus = map[string]string{
	"where":                    "it has no WHERE of COPY",
	"freeze":                   "it ignores FREEZE, which is refused for a pair",
	"read only":                "it looks at that with the first row, and a pair's COPY is refused before",
	"main alone, serializable": "as read only",
}

// TestRoutedCopyCitus: so it is for pairs of every kind of table that Citus has.
func TestRoutedCopyCitus(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"local", "reference", "distributed"} {
		for name, minBytes := range map[string]int64{"staged": 0, "held": 4 * mib} {
			t.Run(kind+" "+name, func(t *testing.T) {
				b := &routedBed{bed: newPlainBed(t, testenv.Citus(t), Options{}, func(c *config.Config) {
					c.Engine, c.Stage.MinBytes = "citus", minBytes
				})}
				b.onCitus = true
				b.plain = b.pg.NewDatabase(t)
				installCitus(t, b.pg, b.db)
				switch kind {
				case "distributed":
					b.spread = distribute
				case "reference":
					b.spread = strings.Replace(distribute, "create_distributed_table(r.name, r.attname)", "create_reference_table(r.name)", 1)
				}
				for _, c := range routedCases() {
					if kind == "local" || routedNotOnCitus[c.name] == "" {
						b.compare(t, &c)
					}
				}
				b.wantSwept()
			})
		}
	}
}

// routedInsertsNotOnCitus are cases that differ, with the reason.
var routedInsertsNotOnCitus = map[string]string{
	"errors name the first row":         byChance,
	"notices and functions":             byChance,
	"notices":                           byChance,
	"identity":                          numbersTaken,
	"all are done":                      numbersTaken,
	"the end of the transaction fails":  "docs/engines.md: warnings about workers do not come with a COMMIT of the proxy's",
	"on conflict do nothing":            "docs/engines.md: a missing index is 0A000",
	"expressions, defaults and selects": "docs/engines.md: what selects from distributed tables fails",
}

// TestRoutedInsertsCitus: INSERTs into pairs of distributed tables are as INSERTs into
// one, and each row lies where its group does.
func TestRoutedInsertsCitus(t *testing.T) {
	t.Parallel()
	pg := testenv.Citus(t)
	spread := func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, distribute).ReadAll()
		return err
	}
	pairs := strings.Replace(makePairs, "WITH gone AS (DELETE FROM %%s m WHERE EXISTS (SELECT FROM %%s r WHERE r.routing_id = m.%%I::text) RETURNING *) INSERT INTO %%s (%%s) SELECT %%s FROM gone",
		"INSERT INTO %%4$s (%%5$s) SELECT %%5$s FROM %%1$s m WHERE m.%%3$I::text IN (SELECT routing_id FROM %%2$s); DELETE FROM %%1$s m WHERE m.%%3$I::text IN (SELECT routing_id FROM %%2$s)", 1)
	skip := maps.Clone(routedSkips)
	maps.Copy(skip, notOnCitus)
	maps.Copy(skip, routedInsertsNotOnCitus)
	differRoutedOn(t, pg, pairs, "a", []string{"routed/inserts", "routed/several", "routed/texts", "insert/simple"}, skip,
		func(c *config.Config) { c.Engine = "citus" },
		func(o *pgtest.Options) {
			o.Distributed, o.Waits = true, waitsOnCitus
			o.Prepare = func(t testing.TB, db string) { installCitus(t, pg, db) }
			o.BeforeSetup = func(_ context.Context, conn *pgx.Conn) error { return pg.EmptyPublic(conn.Config().Database) }
			o.AfterSetup = spread
			makeThem := o.Pairs.Make
			o.Pairs.Make = func(ctx context.Context, conn *pgx.Conn) error {
				return errors.Join(makeThem(ctx, conn), spread(ctx, conn))
			}
			o.AfterCase = func(t testing.TB, _, db string, _ *pgtest.Case) {
				conn := pg.Connect(t, db, "postgres")
				out := strings.NewReplacer("FROM %%s m", "FROM (SELECT * FROM %%s OFFSET 0) m").Replace(outOfPlace)
				if _, err := conn.PgConn().Exec(t.Context(), fmt.Sprintf(out, "a")).ReadAll(); err != nil {
					t.Error(err)
				}
				_ = conn.Close(t.Context())
			}
		})
}
