package clients

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed programs
var programs embed.FS

// DSN is how to reach a database, for libraries that each want it differently.
type DSN struct {
	Host, Port, User, Password, Database string
}

// KeyValue is the form of libpq, pgx and lib/pq.
func (d DSN) KeyValue() string {
	text := fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable application_name=pgtest", d.Host, d.Port, d.User, d.Database)
	if d.Password != "" {
		text += " password=" + d.Password
	}
	return text
}

// Client is one library with its work.
type Client struct {
	Name string
	// Run does the work and returns the transcript. An error means that the
	// program itself failed.
	Run func(ctx context.Context, dsn DSN) (string, error)
	// Missing returns why the client cannot run here, or "".
	Missing func(ctx context.Context) string
}

// All lists every client.
func All() []Client {
	return []Client{
		{Name: "pgx", Run: runPgx, Missing: never},
		{Name: "pgx-batch", Run: runPgxBatch, Missing: never},
		{Name: "database-sql", Run: runDatabaseSQL, Missing: never},
		{Name: "lib-pq", Run: runLibPQ, Missing: never},
		{Name: "pgx-insert", Run: runPgxInsert(pgx.QueryExecModeCacheStatement), Missing: never},
		{Name: "pgx-insert-exec", Run: runPgxInsert(pgx.QueryExecModeExec), Missing: never},
		{Name: "pgx-insert-simple", Run: runPgxInsert(pgx.QueryExecModeSimpleProtocol), Missing: never},
		{Name: "pgx-insert-batch", Run: runPgxInsertBatch, Missing: never},
		{Name: "lib-pq-insert", Run: runLibPQInsert, Missing: never},
		{Name: "pgx-coalesce", Run: runPgxCoalesce, Missing: never},
		{Name: "lib-pq-coalesce", Run: runLibPQCoalesce, Missing: never},
		{Name: "gorm", Run: runGORM(false), Missing: never},
		{Name: "gorm-simple", Run: runGORM(true), Missing: never},
		program("psycopg2", "copy.py", []string{"/usr/bin/python3"}, []string{"-c", "import psycopg2"}),
		program("pgjdbc", "Copy.java", []string{"java", "-cp", "/usr/share/java/postgresql.jar"}, []string{"--list-modules"}),
		program("node-postgres", "copy.js", []string{"node"}, []string{"-e", "require('pg'); require('pg-copy-streams')"}),
		program("psycopg2-insert", "insert_psycopg2.py", []string{"/usr/bin/python3"}, []string{"-c", "import psycopg2"}),
		program("psycopg3-insert", "insert_psycopg3.py", []string{"/usr/bin/python3"}, []string{"-c", "import psycopg; psycopg.Pipeline"}),
		program("sqlalchemy-insert", "insert_sqlalchemy.py", []string{"/usr/bin/python3"}, []string{"-c", "import sqlalchemy, psycopg2"}),
		program("pgjdbc-insert", "Insert.java", []string{"java", "-cp", "/usr/share/java/postgresql.jar"}, []string{"--list-modules"}),
		program("psycopg2-coalesce", "coalesce_psycopg2.py", []string{"/usr/bin/python3"}, []string{"-c", "import psycopg2"}),
		program("psycopg3-coalesce", "coalesce_psycopg3.py", []string{"/usr/bin/python3"}, []string{"-c", "import psycopg"}),
		program("pgjdbc-coalesce", "Coalesce.java", []string{"java", "-cp", "/usr/share/java/postgresql.jar"}, []string{"--list-modules"}),
		program("node-postgres-insert", "insert.js", []string{"node"}, []string{"-e", "require('pg')"}),
		program("knex-insert", "knex.js", []string{"node"}, []string{"-e", "require('pg'); require('knex')"}),
	}
}

func never(context.Context) string { return "" }

// program is a client that an interpreter runs from its source.
func program(name, source string, command, probe []string) Client {
	return Client{
		Name: name,
		Missing: func(ctx context.Context) string {
			probeArguments := append(command[1:len(command):len(command)], probe...)
			output, err := exec.CommandContext(ctx, command[0], probeArguments...).CombinedOutput()
			if err != nil {
				lines := strings.Split(strings.TrimSpace(string(output)), "\n")
				return fmt.Sprintf("%s cannot run: %v: %s", name, err, lines[len(lines)-1])
			}
			return ""
		},
		Run: func(ctx context.Context, dsn DSN) (string, error) {
			return runProgram(ctx, source, command, dsn)
		},
	}
}

func runProgram(ctx context.Context, source string, command []string, dsn DSN) (string, error) {
	text, err := programs.ReadFile("programs/" + source)
	if err != nil {
		return "", fmt.Errorf("read program: %w", err)
	}
	dir, err := os.MkdirTemp("", "pgtest-client-")
	if err != nil {
		return "", fmt.Errorf("make directory for program: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, source)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write program: %w", err)
	}
	var stdout, stderr bytes.Buffer
	run := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], path)...)
	run.Env = append(os.Environ(), "PGHOST="+dsn.Host, "PGPORT="+dsn.Port, "PGUSER="+dsn.User,
		"PGPASSWORD="+dsn.Password, "PGDATABASE="+dsn.Database, "PGSSLMODE=disable", "PGAPPNAME=pgtest")
	run.Stdout, run.Stderr = &stdout, &stderr
	if err := run.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", source, err, stderr.String())
	}
	return stdout.String() + stderr.String(), nil
}

// Work is the table that all clients load, and what they load.
const createTable = `CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(10,2), d timestamptz)`

// manyRows makes several staged files of the size that tests use.
const manyRows = 12000

const summary = `SELECT count(*)::text || ' ' || coalesce(sum(a), 0)::text || ' ' || coalesce(sum(length(b)), 0)::text || ' ' || coalesce(sum(c), 0)::text || ' ' || coalesce(max(d)::text, '-') FROM t`
