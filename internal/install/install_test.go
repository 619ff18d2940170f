package install

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/pgbulkproxy/pgbulkproxy/engine/greenplum"
	"github.com/pgbulkproxy/pgbulkproxy/engine/plain"
	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestInstallAgainAndRemove(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db, role := pg.NewDatabase(t), pg.NewRole(t, "")
	conn := pg.Connect(t, db, "postgres")
	ctx := context.Background()
	sql := SQL(postgres.New(), role)
	var key []byte
	for range 2 {
		if err := Run(ctx, conn.PgConn(), sql); err != nil {
			t.Fatal(err)
		}
		var again []byte
		if err := conn.QueryRow(ctx, sealed.SecretSQL).Scan(&again); err != nil {
			t.Fatal(err)
		}
		if key != nil && string(key) != string(again) {
			t.Error("the second installation changed the secret")
		}
		key = again
	}
	service := pg.Connect(t, db, role)
	var version int
	if err := service.QueryRow(ctx, sealed.VersionSQL).Scan(&version); err != nil || version != sealed.InstallVersion {
		t.Errorf("service role reads version %d, %v", version, err)
	}
	for range 2 {
		if err := Run(ctx, conn.PgConn(), UninstallSQL(postgres.New())); err != nil {
			t.Fatal(err)
		}
	}
	if n := schemas(t, conn); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

// TestConcurrentInstallers is what several proxies with auto_install do.
func TestConcurrentInstallers(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	var g errgroup.Group
	for range 4 {
		conn := pg.Connect(t, db, "postgres").PgConn()
		g.Go(func() error { return Run(context.Background(), conn, SQL(postgres.New(), "")) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsChangeNothing(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db, role := pg.NewDatabase(t), pg.NewRole(t, "")
	cases := []struct{ name, user, sql, code string }{
		{"no superuser", role, SQL(postgres.New(), ""), "42501"},
		{"no such role", "postgres", SQL(postgres.New(), "nobody_of_that_name"), "42704"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn := pg.Connect(t, db, c.user)
			err := Run(context.Background(), conn.PgConn(), c.sql)
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != c.code {
				t.Fatalf("error %v", err)
			}
			if n := schemas(t, conn); n != 0 {
				t.Errorf("%d schemas are left", n)
			}
		})
	}
}

// TestReadOnlyDefaults: a database's defaults must not get in the way.
func TestReadOnlyDefaults(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := pg.Connect(t, pg.NewDatabase(t), "postgres")
	ctx := context.Background()
	for _, set := range []string{"default_transaction_read_only = on", "default_transaction_isolation = serializable", "standard_conforming_strings = off"} {
		if _, err := conn.Exec(ctx, "SET "+set); err != nil {
			t.Fatal(err)
		}
	}
	if err := Run(ctx, conn.PgConn(), SQL(postgres.New(), "")); err != nil {
		t.Fatal(err)
	}
}

func TestPlainNeedsNothing(t *testing.T) {
	t.Parallel()
	if got := SQL(plain.New(), "r") + UninstallSQL(plain.New()); strings.TrimSpace(got) != "" {
		t.Errorf("SQL %q", got)
	}
}

// TestRejectsOnly: what engine greenplum installs runs on servers with a sha256 of their
// own, too, and a whole installation may follow.
func TestRejectsOnly(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := pg.Connect(t, pg.NewDatabase(t), "postgres")
	for i, sql := range []string{SQL(greenplum.New(), ""), SQL(greenplum.New(), ""), SQL(postgres.New(), ""), UninstallSQL(greenplum.New())} {
		if err := Run(t.Context(), conn.PgConn(), sql); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			break
		}
		var alone bool
		if err := conn.QueryRow(t.Context(), sealed.RejectsOnlySQL).Scan(&alone); err != nil || alone != (i < 2) {
			t.Errorf("step %d: alone %t, %v", i, alone, err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT * FROM relyt_sys.relyt_loader_rejects"); err != nil {
			t.Error(err)
		}
	}
	if n := schemas(t, conn); n != 0 {
		t.Errorf("%d schemas left", n)
	}
}

// TestLoaderConfig: the settings outlive the ledger.
func TestLoaderConfig(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := pg.Connect(t, pg.NewDatabase(t), "postgres")
	for _, sql := range []string{SQL(postgres.New(), ""), LoaderConfigSQL(""), LoaderConfigSQL(""), UninstallSQL(postgres.New())} {
		if err := Run(t.Context(), conn.PgConn(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT relyt_sys.LOADER_CONFIG()"); err != nil {
		t.Error(err)
	}
}

func schemas(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	err := conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_namespace WHERE nspname IN ('pgbulk', 'pgbulk_run', 'relyt_sys')").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
