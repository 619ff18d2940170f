// Package check holds what is known of a server before anything is loaded: the
// facts by which an engine recognises its kind of server (Facts), and the checks
// of everything that a load needs (Check), for `pgbulkproxy doctor`.
//
// It opens no connections: a check asks the server through DB and the store
// through Store, which internal/doctor gives it. A check never leaves anything
// behind: what it makes in the database stands in a transaction that is rolled
// back, and the object that it puts into the store is deleted.
//
// The life of one check:
//
//  1. RunAfter takes the checks of an engine in their order, after those that are the
//     same for all engines.
//  2. One whose Needs have not succeeded is skipped: its failure would say what
//     another has said already.
//  3. Check.Run returns a Result: ok, warn (works, but look at it), fail, or skip (not a
//     matter here), with one line of what was found.
//  4. For warn and fail there is a remedy: the result's own, where it knows more
//     than the check's.
//
// To debug a check: pgbulkproxy doctor --json prints all of its results.
package check
