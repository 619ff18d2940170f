// Package bulk runs loads: it takes the rows of one bulk statement while they
// arrive, stages them as files in the object store, and brings them into the
// table on the client's own session.
//
// It owns: the memory that staged data is kept in, the cutting of files, the
// uploads, the order of loading, savepoints and the transaction bracket, the
// fallback to the native COPY, and the deletion of files. It never parses SQL,
// never reads the client's connection, and never decides whether a statement is
// taken: rewrite does.
//
// The life of one load:
//
//  1. Begin opens the bracket on the session: BEGIN, or a savepoint inside a
//     transaction block; takes the table lock that COPY would hold; and checks
//     that the inspection is still true.
//  2. Write takes the client's data. It goes into the current file; at a row
//     boundary beyond the file's size the file is cut and handed on. Write
//     blocks when too many files wait (back-pressure), and memory is bounded by
//     a budget that all loads share; beyond it an unlinked local file takes over.
//  3. A file is uploaded, in parallel with others and with what follows; as COPY
//     binary where the server is to read it and its rows fit (binaries.go).
//  4. The loader goroutine loads the files in order. By MethodExternal each file
//     is one INSERT … SELECT behind a savepoint, and the count of rows must
//     match. By MethodCopy the files' bytes go into one COPY on the session; by
//     MethodTable that COPY fills a temporary table, and one statement at the end
//     takes the rows from there (table.go).
//     The bytes of a file are kept until it is loaded.
//  5. If anything but the client's data fails (the store, the engine, a count),
//     the file's savepoint is rolled back, and this file and all later ones go
//     through a native COPY on the session. If the data is bad, that COPY gives
//     the native error; its line number is corrected for files loaded before.
//  6. Finish ends it: COMMIT, or the savepoint's release.
//  7. Settle tells the ledger how the transaction ended. After a grace period
//     the sweeper deletes the files.
//
// A load that is acknowledged when staged (stage.go) stops at 4: when all files
// are durable, a row in the client's transaction says that they are to be imported,
// and the Importer of any proxy does that (importer.go, import.go). The Importer
// also settles what lost proxies have left.
//
// To debug a load, follow its process_id: it is in the log lines, the S3 keys
// and the ledger.
package bulk
