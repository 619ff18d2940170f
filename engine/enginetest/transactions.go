package enginetest

import (
	"testing"
)

func runTransactions(t *testing.T, c Config) {
	for name, run := range map[string]func(*testing.T, Config){
		"commit":               inBlock,
		"savepoint":            savepoint,
		"rollback":             rollback,
		"prepare transaction":  prepared,
		"several loads in one": severalLoads,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); run(t, c) })
	}
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		t.Run(level, func(t *testing.T) { t.Parallel(); oldSnapshot(t, c, level) })
	}
	for _, ddl := range []string{"ALTER b TYPE varchar(3)", "ALTER b TYPE int USING 0", "ADD c int", "DROP b", "RENAME a TO c"} {
		t.Run("changed by "+ddl, func(t *testing.T) { t.Parallel(); changedTable(t, c, ddl) })
	}
	t.Run("serializable loads side by side", func(t *testing.T) { t.Parallel(); serializable(t, c) })
	t.Run("read only", func(t *testing.T) { t.Parallel(); readOnly(t, c) })
	t.Run("same file twice", func(t *testing.T) { t.Parallel(); twice(t, c) })
}

func tableBench(t *testing.T, c Config) (*bench, *load) {
	b := newBench(t, c)
	b.must(b.admin, "CREATE TABLE t (a int, b text)")
	return b, newLoad("t", text())
}

func (b *bench) mustLoad(l *load, files ...string) {
	b.t.Helper()
	if _, err := b.external(l, files...); err != nil {
		b.t.Fatal(err)
	}
}

func inBlock(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	b.must(b.sess, "BEGIN")
	b.mustLoad(l, "1\tx\n", "2\ty\n", "3\tz\n")
	b.want(b.admin, "SELECT count(*) FROM t", "0")
	b.wantLeftovers(l, "")
	b.must(b.sess, "COMMIT")
	b.want(b.admin, "SELECT a, b FROM t", "1|x\n2|y\n3|z")
	b.wantLeftovers(l, "1:1:role 2:1:role 3:1:role")
}

// savepoint undoes the load of one file and loads it again another way: as the
// proxy does when it falls back.
func savepoint(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	b.must(b.sess, "BEGIN")
	b.mustLoad(l, "1\tx\n")
	b.must(b.sess, "SAVEPOINT s")
	b.mustLoad(l, "2\ty\n")
	b.must(b.sess, "ROLLBACK TO s")
	if _, err := b.external(l, "bad\tx\n"); pgError(err).Code != "22P02" {
		t.Fatalf("got %v", err)
	}
	b.must(b.sess, "ROLLBACK TO s")
	if _, err := b.native("t", nil, "", "4\tz\n"); err != nil {
		t.Fatal(err)
	}
	b.must(b.sess, "RELEASE s; COMMIT")
	b.want(b.admin, "SELECT a, b FROM t", "1|x\n4|z")
	b.wantLeftovers(l, "1:1:role")
}

func rollback(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	b.must(b.sess, "BEGIN")
	b.mustLoad(l, "1\tx\n", "2\ty\n")
	b.must(b.sess, "ROLLBACK")
	b.want(b.admin, "SELECT count(*) FROM t", "0")
	b.wantLeftovers(l, "")
}

func prepared(t *testing.T, c Config) {
	c.excuse(t, "prepare transaction")
	b, l := tableBench(t, c)
	if b.must(b.admin, "SELECT current_setting('max_prepared_transactions')") == "0" {
		t.Skip("the server has max_prepared_transactions = 0")
	}
	b.must(b.sess, "BEGIN")
	b.mustLoad(l, "1\tx\n", "2\ty\n")
	b.must(b.sess, "PREPARE TRANSACTION '"+l.id+"'")
	b.wantLeftovers(l, "")
	b.must(b.sess, "COMMIT PREPARED '"+l.id+"'")
	b.want(b.admin, "SELECT a, b FROM t", "1|x\n2|y")
	b.wantLeftovers(l, "1:1:role 2:1:role")
}

func severalLoads(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	b.must(b.admin, "CREATE TABLE u (a int)")
	other := newLoad("u", csv())
	b.must(b.sess, "BEGIN")
	b.mustLoad(l, "1\tx\n")
	b.mustLoad(other, "7\n")
	b.mustLoad(l, "2\ty\n")
	b.must(b.sess, "COMMIT")
	b.want(b.admin, "SELECT (SELECT sum(a) FROM t), (SELECT sum(a) FROM u)", "3|7")
	b.wantLeftovers(other, "1:1:role")
}

// oldSnapshot loads in a transaction whose snapshot is older than other loads
// and than other changes of the table.
func oldSnapshot(t *testing.T, c Config, level string) {
	b, l := tableBench(t, c)
	b.must(b.sess, "BEGIN ISOLATION LEVEL "+level+"; SELECT count(*) FROM pg_class")
	second := &bench{t: t, c: c, schema: b.schema, role: b.role, admin: b.admin, sess: b.connect(b.role)}
	second.must(second.sess, "SET search_path = "+b.schema)
	second.mustLoad(newLoad("t", text()), "8\tother\n")
	b.must(b.admin, "UPDATE t SET b = 'changed'")
	b.mustLoad(l, "1\tx\n", "2\ty\n")
	b.must(b.sess, "COMMIT")
	b.want(b.admin, "SELECT a, b FROM t ORDER BY a", "1|x\n2|y\n8|changed")
	b.wantLeftovers(l, "1:1:role 2:1:role")
}

// changedTable alters the table after the snapshot that the load goes by. A load
// by the old columns must fail.
func changedTable(t *testing.T, c Config, ddl string) {
	c.excuse(t, "changed table")
	b, l := tableBench(t, c)
	b.must(b.sess, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
	b.must(b.admin, "ALTER TABLE t "+ddl)
	plan := b.plan(l, "1\tx  \n")
	if n, err := runPlan(b.sess, plan); pgError(err).Code != "55000" {
		t.Errorf("%d rows, %v", n, err)
	}
	b.must(b.sess, "ROLLBACK")
	b.wantLeftovers(l, "")
}

// serializable loads in two transactions at once, into different tables: the
// bookkeeping must not make them conflict.
func serializable(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	second := &bench{t: t, c: c, schema: b.schema, role: b.role, admin: b.admin, sess: b.connect(b.role)}
	second.must(second.sess, "SET search_path = "+b.schema)
	b.must(b.admin, "CREATE TABLE u (a int)")
	other := newLoad("u", text())
	b.must(b.sess, "BEGIN ISOLATION LEVEL SERIALIZABLE")
	second.must(second.sess, "BEGIN ISOLATION LEVEL SERIALIZABLE")
	b.mustLoad(l, "1\tx\n")
	second.mustLoad(other, "7\n")
	b.mustLoad(l, "2\ty\n")
	second.mustLoad(other, "8\n")
	b.must(b.sess, "COMMIT")
	second.must(second.sess, "COMMIT")
	b.want(b.admin, "SELECT (SELECT sum(a) FROM t), (SELECT sum(a) FROM u)", "3|15")
}

func readOnly(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	plan := b.plan(l, "1\tx\n")
	b.must(b.sess, "BEGIN READ ONLY")
	if _, err := runPlan(b.sess, plan); pgError(err).Code != "25006" {
		t.Errorf("got %v", err)
	}
	b.must(b.sess, "ROLLBACK")
}

// twice runs the plan of one file again: the second run must undo itself.
func twice(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	plan := b.plan(l, "1\tx\n")
	if _, err := runPlan(b.sess, plan); err != nil {
		t.Fatal(err)
	}
	if _, err := runPlan(b.sess, plan); pgError(err).Code != "23505" {
		t.Errorf("got %v", err)
	}
	b.want(b.admin, "SELECT a, b FROM t", "1|x")
	b.wantLeftovers(l, "1:1:role")
}
