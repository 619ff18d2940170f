package clients

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// GroupsTable is the table that the programs of Groups insert into; others make
// it before. Rows of every third group are those of group b.
const GroupsTable = `CREATE TABLE t (id int PRIMARY KEY, group_id text, v varchar(20) CHECK (v <> 'no'), n serial)`

// Groups are clients that insert few rows at a time into a table with groups.
func Groups() []Client {
	python := []string{"/usr/bin/python3"}
	list := []Client{
		{Name: "lib-pq-groups", Run: runLibPQGroups, Missing: never},
		program("psycopg2-groups", "groups_psycopg2.py", python, []string{"-c", "import psycopg2"}),
		program("psycopg3-groups", "groups_psycopg3.py", python, []string{"-c", "import psycopg; psycopg.Pipeline"}),
		program("pgjdbc-groups", "Groups.java", []string{"java", "-cp", "/usr/share/java/postgresql.jar"}, []string{"--list-modules"}),
		program("node-postgres-groups", "groups.js", []string{"node"}, []string{"-e", "require('pg')"}),
	}
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		list = append(list, Client{Name: "pgx-groups-" + mode.String(), Missing: never, Run: func(ctx context.Context, dsn DSN) (string, error) {
			return withPgxGroups(ctx, dsn, mode)
		}})
	}
	return list
}

// groupOf is the group of row i.
func groupOf(i int) any {
	return []any{"a", "b", nil, "b'\\"}[i%4]
}

const (
	insertGroup = "INSERT INTO t (id, group_id, v) VALUES ($1, $2, $3)"
	upsertGroup = insertGroup + " ON CONFLICT (id) DO UPDATE SET v = excluded.v || t.v"
	returnGroup = insertGroup + " RETURNING id, group_id, v"
	twoGroups   = "INSERT INTO t (id, group_id, v) VALUES ($1, $2, $3), ($4, $5, $6)"
)

func withPgxGroups(ctx context.Context, dsn DSN, mode pgx.QueryExecMode) (string, error) {
	cfg, err := pgx.ParseConfig(dsn.KeyValue())
	if err != nil {
		return "", err
	}
	cfg.DefaultQueryExecMode = mode
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	out := &transcript{}
	one := func(label, sql string, values ...any) {
		tag, err := conn.Exec(ctx, sql, values...)
		out.line("%s %s: %s %s %c", label, sql, tag, explain(err), conn.PgConn().TxStatus())
	}
	for i := range 8 {
		one("alone", insertGroup, i, groupOf(i), "x")
	}
	one("duplicate", insertGroup, 1, "b", "x")
	one("check", insertGroup, 100, "b", "no")
	one("upsert", upsertGroup, 1, "b", "y")
	one("upsert", upsertGroup, 0, "a", "y")
	one("two", twoGroups, 10, "a", "x", 11, "b", "x")
	one("two", twoGroups, 12, "b", "x", 11, "b", "x")
	returned := func(i int) {
		var id int
		var group, v *string
		err := conn.QueryRow(ctx, returnGroup, i, groupOf(i), "r").Scan(&id, &group, &v)
		out.line("returning %d %s %s", id, show(group), explain(err))
	}
	returned(20)
	returned(21)
	returned(21)
	pgxGroupsBlock(ctx, out, conn, one, returned)
	for _, from := range []int{50, 53, 60} {
		batch := &pgx.Batch{}
		for i := range 5 {
			batch.Queue(insertGroup, from+i, groupOf(from+i), "batch")
		}
		batch.Queue(upsertGroup, 1, "b", "z")
		if mode != pgx.QueryExecModeSimpleProtocol { // there it is one text, and INSERTs alone go together
			batch.Queue("SELECT 1")
		}
		out.line("batch: %s", explain(conn.SendBatch(ctx, batch).Close()))
	}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id", "group_id", "v"}, pgx.CopyFromSlice(10, func(i int) ([]any, error) {
		return []any{int32(70 + i), groupOf(70 + i), "copy"}, nil
	}))
	out.line("copy %d %s", n, explain(err))
	pgxGroupsArrays(ctx, out, conn, one)
	return out.String(), nil
}

func pgxGroupsArrays(ctx context.Context, out *transcript, conn *pgx.Conn, one func(string, string, ...any)) {
	const insert = "INSERT INTO t (id, group_id, v) SELECT * FROM unnest($1::int[], $2::text[], $3::text[])"
	arrays := func(from int) []any {
		var ids []int32
		var groups []*string
		var v []string
		for i := from; i < from+6; i++ {
			ids, v = append(ids, int32(i)), append(v, "u")
			group, ok := groupOf(i).(string)
			if groups = append(groups, nil); ok {
				groups[i-from] = &group
			}
		}
		return []any{ids, groups, v}
	}
	one("arrays", insert, arrays(200)...)
	one("arrays", insert, arrays(205)...)
	one("arrays", "BEGIN")
	one("arrays", insert, arrays(210)...)
	one("arrays", "COMMIT")
	rows, err := conn.Query(ctx, insert+" RETURNING id, group_id", arrays(220)...)
	out.line("arrays returning %s", explain(err))
	for rows.Next() {
		var id int
		var group *string
		err := rows.Scan(&id, &group)
		out.line("%d %s %s", id, show(group), explain(err))
	}
	out.line("%s %s", rows.CommandTag(), explain(rows.Err()))
}

func pgxGroupsBlock(ctx context.Context, out *transcript, conn *pgx.Conn, one func(string, string, ...any), returned func(int)) {
	one("block", "BEGIN")
	one("block", insertGroup, 30, "b", "x")
	one("block", insertGroup, 31, "a", "x")
	one("block", "SAVEPOINT s")
	one("block", insertGroup, 30, "b", "x")
	one("block", insertGroup, 32, "b", "x")
	one("block", "ROLLBACK TO s")
	returned(33)
	one("block", "COMMIT")
	one("block", "BEGIN")
	one("block", insertGroup, 40, "b", "x")
	one("block", "ROLLBACK")
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	out.line("begin %s", explain(err))
	one("serializable", insertGroup, 41, "b", "x")
	out.line("commit %s", explain(tx.Commit(ctx)))
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}

func runLibPQGroups(ctx context.Context, dsn DSN) (string, error) {
	db, err := sql.Open("postgres", dsn.KeyValue())
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	out := &transcript{}
	prepared, err := db.PrepareContext(ctx, insertGroup)
	if err != nil {
		return "", err
	}
	for i := range 6 {
		_, err := prepared.ExecContext(ctx, i, groupOf(i), "x")
		out.line("prepared %d: %s", i, explainPQ(err))
		_, err = db.ExecContext(ctx, upsertGroup, i, groupOf(i), "y")
		out.line("upsert %d: %s", i, explainPQ(err))
		var v string
		err = db.QueryRowContext(ctx, returnGroup, 2*i, groupOf(2*i), "z").Scan(&v, new(any), new(any))
		out.line("returning %d: %s %s", i, v, explainPQ(err))
		_, err = db.ExecContext(ctx, fmt.Sprintf("INSERT INTO t VALUES (%d, 'b', 'text')", 51+i/2*4))
		out.line("text %d: %s", i, explainPQ(err))
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	for _, id := range []int{100, 101, 1} {
		_, err = tx.StmtContext(ctx, prepared).ExecContext(ctx, id, "b", "x")
		out.line("block %d: %s", id, explainPQ(err))
	}
	out.line("rollback: %s", explainPQ(tx.Rollback()))
	return out.String(), nil
}
