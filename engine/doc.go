// Package engine holds the dialects: how each kind of upstream reads staged
// files, as SQL text and capability flags. It runs nothing itself.
//
// It owns: the installation SQL of schema pgbulk (functions, secret, version),
// the SQL of one file's load, and the sealing of what an engine must be told
// but SQL text must not show. It never opens connections and never sees rows.
//
// The life of one file's load through an external table:
//
//  1. bulk asks the engine for the Plan of a file that is durable in S3.
//  2. It runs Plan.SQL() on the client's session in one simple Query: open
//     (creates the external table), insert, close (drops it, writes the ledger
//     row of the import in the same transaction).
//  3. It compares the insert's tag with the rows staged and goes on, or rolls
//     back to its savepoint and loads the file's bytes natively.
//
// What guards the functions: everybody may call them, and they run as the
// superuser who installed them. So they obey only messages with the MAC of
// pgbulk.secret, which bind what is done to one session, role and database;
// they build the command themselves; and they let one role read one table.
// Whoever can read the secret (a superuser, the service role, the holder of a
// dump with that table) can have the database host fetch any http URL.
//
// To debug it: the message is readable JSON in pg_stat_activity and in the
// server's log. A refusal (42501) names the check that failed, 55000 says that
// the table is no longer as inspected, and 38000 is curl's failure, whose
// reason stands in the server's log. MaskURL makes such texts fit for ours.
package engine
