// Package checkpoint is the ledger: which load has which files, and which of
// them are in the table.
//
// It owns the tables of schema pgbulk that say so, and the views of schema
// relyt_sys that show them in the columns which users of the original loader
// know. It never touches user tables, and it never decides what to do about a
// load: bulk does.
//
// Two writers, and why: what decides whether a file's rows are in the table
// (the import row), or whether a load is staged (the staged row), is inserted by
// a function of ours on the client's own session, inside the transaction that
// loads or stages the rows, and only ever inserted, so that it commits with
// them, blocks nobody and cannot cause a serialization failure. Everything else
// (a load began, a file is frozen, a load failed) is written over the service
// connection.
//
// The life of one load in the ledger:
//
//  1. Begin: status RUNNING; its owner is a proxy with a lease.
//  2. Create and Freeze, once a file: its key, records, bytes and checksum;
//     states CREATED and FROZEN.
//  3. The import row, in the client's transaction: state IMPORTED.
//  4. Settle, when that transaction has ended: COMPLETED if the import rows are
//     there, else FAILED with the error or CANCELLED.
//  5. Swept: the sweeper deleted its files.
//
// A load that is acknowledged when staged goes another way from step 3 on:
//
//  3. The staged row, in the client's transaction: what is to be run with whose
//     rights and settings over which files. ROLLBACK takes it away.
//  4. Settle, when that transaction has ended: RUNNING, if the staged row is
//     there; else a void row is put in its place, which keeps the transaction
//     from committing later, and the load is CANCELLED.
//  5. Heads has it when all that was staged before it for its table has ended.
//     Attempt: state IMPORTING.
//  6. The import, one transaction over a service connection: pgbulk.fence locks
//     the load, if it still belongs to this owner and epoch; the rows are
//     inserted; import rows, COMPLETED and the end of the staged row's stay in
//     the queue are written.
//  7. Fail, if it did not commit, or nobody knows: waits for the load's lock, so
//     for the transaction's end, and says what is true. It is tried again, or
//     FAILED and its files ERROR, until somebody says Retry or Cancel.
//
// Who dies: a load whose owner has no lease is an Orphan. Take gives it a new
// owner and epoch, unless its import holds the lock; then fence refuses the old
// owner for good, and the PK of the import rows is the last guard. The new owner
// settles it; the answer RUNNING means that its workers have it now.
//
// To debug it: a load's rows are in pgbulk.load, load_file, staged and import
// under its process_id; import.txid is the transaction that put the file's rows
// into the table. Sessions that read them should not be SERIALIZABLE: a reader
// and two loads could then conflict.
package checkpoint
