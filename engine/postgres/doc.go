// Package postgres is the engine of PostgreSQL whose server reads the files
// itself: by file_fdw foreign tables whose program is curl, which functions of
// schema pgbulk make and drop in the client's transaction (package sealed).
//
// It owns the three statements of one file. It never sees rows.
//
// The life of one file: its Plan opens a foreign table over a pre-signed URL,
// inserts from it with the client's own rights, and drops it.
package postgres
