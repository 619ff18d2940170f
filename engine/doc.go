// Package engine says what an engine is: how one kind of upstream reads staged
// files, as SQL text and capability flags. Each engine is a package below this
// one; package registry lists them, and enginetest is the suite that all pass.
//
// It owns: the interface, the flags, and the types that both sides speak of. It
// has no SQL of its own, runs nothing, never opens connections and never sees
// rows. What engines with a ledger say to schema pgbulk is in package sealed.
//
// The life of one group of files that the server reads itself:
//
//  1. bulk asks the engine for the Plan of a group of files that are durable in
//     the store: one file, or several where the engine is Parallel.
//  2. It runs Plan.SQL() on the client's session in one simple Query: open
//     (makes what reads the files), insert, close (drops it, writes the ledger's
//     import rows in the same transaction).
//  3. It compares the rows that were read with the rows staged and goes on, or
//     rolls back to its savepoint and loads the group's bytes natively.
//
// To debug it: `pgbulkproxy explain` prints the plan of a statement. MaskURL
// makes a server's texts about it fit for ours.
package engine
