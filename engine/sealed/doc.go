// Package sealed is what engines and loads say to schema pgbulk, the part of it
// that is not the ledger: the installation SQL (functions, secret, version), the
// external tables by file_fdw, import rows, labels, rejected rows and staged
// loads; and the sealing of what the functions must be told but SQL text must
// not show. It runs nothing itself, and never sees rows but rejected ones.
//
// The life of one sealed message:
//
//  1. An engine or bulk says what is to be done: a JSON text, bound to one
//     session, role and database, and a URL where a file is to be read.
//  2. The Sealer encrypts the URL and puts a MAC over both, with the secret of the
//     database.
//  3. The function of schema pgbulk checks the MAC and what the message is bound
//     to, and obeys.
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
// reason stands in the server's log.
package sealed
