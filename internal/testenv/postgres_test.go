package testenv_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestPostgresSharedServer(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	if testenv.Postgres(t) != pg {
		t.Fatal("a second call started another server")
	}
	if v := pg.Version(); v < 90000 {
		t.Errorf("version %d", v)
	}
	db, role := pg.NewDatabase(t), pg.NewRole(t, "NOSUPERUSER")
	for name, dsn := range map[string]string{"socket": pg.DSN(db, role), "tcp": pg.TCPDSN(db, role)} {
		conn, err := pgx.Connect(context.Background(), dsn)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var gotDB, gotUser, fsync string
		if err := conn.QueryRow(context.Background(), "select current_database(), current_user, current_setting('fsync')").Scan(&gotDB, &gotUser, &fsync); err != nil {
			t.Fatal(err)
		}
		if gotDB != db || gotUser != role || fsync != "off" {
			t.Errorf("%s: database %s, user %s, fsync %s", name, gotDB, gotUser, fsync)
		}
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestPostgresDropsDatabaseInUse(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	var db string
	var conn *pgx.Conn
	t.Run("user", func(t *testing.T) {
		db = pg.NewDatabase(t)
		var err error
		if conn, err = pgx.Connect(context.Background(), pg.DSN(db, "postgres")); err != nil {
			t.Fatal(err)
		}
	})
	if err := conn.Ping(context.Background()); err == nil {
		t.Error("the session outlived its database")
	}
	conn.Close(context.Background())
	_, err := pgx.Connect(context.Background(), pg.DSN(db, "postgres"))
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "3D000" {
		t.Errorf("connect to a dropped database: %v", err)
	}
}

func TestPrivatePostgres(t *testing.T) {
	t.Parallel()
	pg := testenv.PrivatePostgres(t, func(c *pgserver.Config) {
		c.HBA = []string{"host all all 127.0.0.1/32 scram-sha-256"}
	})
	role := pg.NewRole(t, "PASSWORD 'right'")
	_, err := pgx.Connect(context.Background(), pg.TCPDSN("postgres", role)+" password=wrong")
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "28P01" {
		t.Fatalf("wrong password: %v", err)
	}
	conn, err := pgx.Connect(context.Background(), pg.TCPDSN("postgres", role)+" password=right")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
	if log, err := os.ReadFile(pg.LogFile()); err != nil || !strings.Contains(string(log), "ready to accept connections") {
		t.Errorf("log file: %v", err)
	}
}
