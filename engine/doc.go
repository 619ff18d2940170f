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
package engine
