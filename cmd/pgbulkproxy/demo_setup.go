package main

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
)

const (
	// demoName is the name of database, role and table.
	demoName = "demo"
	// demoServiceRole is the role of the proxy's service connection.
	demoServiceRole = "pgbulk_service"
)

// demoTable is made as role demo.
const demoTable = `CREATE TABLE IF NOT EXISTS public.demo (
  id bigint, name text, amount pg_catalog.numeric(12,2), created timestamptz)`

// setUp makes what isn't there yet: roles, database, engine, table and sample.
func (d *demo) setUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setUpTimeout)
	defer cancel()
	if err := d.folder.writeSample(); err != nil {
		return err
	}
	if err := d.as(ctx, "postgres", pgserver.Superuser, d.makeRoles); err != nil {
		return err
	}
	if err := d.as(ctx, demoName, pgserver.Superuser, d.installEngine); err != nil {
		return err
	}
	return d.as(ctx, demoName, demoName, func(ctx context.Context, conn *pgconn.PgConn) error {
		return execute(ctx, conn, demoTable)
	})
}

// as runs work in a session of its own over the private socket.
func (d *demo) as(ctx context.Context, database, user string, work func(context.Context, *pgconn.PgConn) error) error {
	conn, err := pgconn.Connect(ctx, d.server.DSN(database, user))
	if err != nil {
		return err
	}
	return errors.Join(work(ctx, conn), conn.Close(context.WithoutCancel(ctx)))
}

func (d *demo) makeRoles(ctx context.Context, conn *pgconn.PgConn) error {
	for _, role := range []string{demoName, demoServiceRole} {
		if err := createUnless(ctx, conn, "pg_catalog.pg_roles WHERE rolname", role,
			"CREATE ROLE "+pgident.Quote(role)+" LOGIN"); err != nil {
			return err
		}
	}
	verifier, err := scramVerifier(d.password)
	if err != nil {
		return err
	}
	if err := execute(ctx, conn, "ALTER ROLE "+pgident.Quote(demoName)+" PASSWORD "+pgident.Literal(verifier)); err != nil {
		return err
	}
	return createUnless(ctx, conn, "pg_catalog.pg_database WHERE datname", demoName,
		"CREATE DATABASE "+pgident.Quote(demoName)+" OWNER "+pgident.Quote(demoName))
}

// installEngine installs engine postgres, or falls back to plain where the
// binaries come without file_fdw or the machine without curl.
func (d *demo) installEngine(ctx context.Context, conn *pgconn.PgConn) error {
	if _, err := exec.LookPath("curl"); err != nil {
		d.engine = config.EnginePlain
		return nil
	}
	err := install.Run(ctx, conn, install.SQL(postgres.New(), demoServiceRole))
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "0A000" {
		d.engine = config.EnginePlain
		return nil
	}
	if err != nil {
		return plainError(err)
	}
	return nil
}

// createUnless runs sql unless the catalog has the name.
func createUnless(ctx context.Context, conn *pgconn.PgConn, from, name, sql string) error {
	n, err := queryText(ctx, conn, "SELECT pg_catalog.count(*) FROM "+from+" OPERATOR(pg_catalog.=) "+pgident.Literal(name))
	if err != nil || n != "0" {
		return err
	}
	return execute(ctx, conn, sql)
}

func execute(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}

// scramVerifier makes what PostgreSQL stores for a password (RFC 5803), so that
// the password itself stands in no SQL text.
func scramVerifier(password string) (string, error) {
	const iterations = 4096 // PostgreSQL's own
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	sign := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(sign("Server Key"))), nil
}
