// Package testenv gives tests a real PostgreSQL server and a real S3 server.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }
//
// Main owns what the tests start: the servers start when a test first asks,
// are shared by all tests of the binary, and end with Main, also on Ctrl-C. What
// a killed binary left is removed by the next one. Their files are in memory where
// there is room for them, else in the temporary directory; TMPDIR says where, if set.
// After the tests Main looks for goroutines that they left behind and fails if
// there are any.
//
// Tests keep apart by having a database (PG.NewDatabase), roles (PG.NewRole) and
// a key prefix (S3Server.Prefix) of their own, so all of them can run in parallel;
// at least four do at once, unless -parallel says otherwise.
//
// PGBULK_TEST_PG_BIN names a directory of PostgreSQL binaries to test with,
// another version's for example. PGBULK_TEST_GREENPLUM_DSN names the superuser of a
// Greenplum cluster; tests of it are left out without.
package testenv
