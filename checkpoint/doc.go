// Package checkpoint is the ledger: which load has which files, and which of
// them are in the table.
//
// It owns the tables of schema pgbulk that say so, and the view
// relyt_sys.relyt_loader_checkpoint that shows them in the columns which users
// of the original loader know. It never touches user tables, and it never
// decides what to do about a load: bulk does.
//
// Two writers, and why: what decides whether a file's rows are in the table
// (the import row) is inserted by a function of ours on the client's own
// session, inside the transaction that loads the rows, and only ever inserted,
// so that it commits with them, blocks nobody and cannot cause a serialization
// failure. Everything else (a load began, a file is frozen, a load failed) is
// written over the service connection.
//
// The life of one load in the ledger:
//
//  1. Begin: status RUNNING.
//  2. Freeze, once a file: its key, records, bytes and checksum; state FROZEN.
//  3. The import row, in the client's transaction: state IMPORTED.
//  4. Settle, when that transaction has ended: COMPLETED if the import rows are
//     there, else FAILED with the error or CANCELLED.
//  5. Swept: the sweeper deleted its files.
//
// To debug it: a load's rows are in pgbulk.load, load_file and import under its
// process_id; import.txid is the transaction that put the file's rows into the
// table. Sessions that read them should not be SERIALIZABLE: a reader and two
// loads could then conflict.
package checkpoint
