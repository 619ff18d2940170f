// Package routing owns tables with an auxiliary table: what they and their
// companions are called, what the database needs for them, and the commands
// that make, show and undo such a pair.
//
// It never touches a client's session: how rows of a load are placed is in
// rewrite (Routing), which reads the routes in the statement that inserts. The
// proxy keeps only the names of routed tables (KnownSQL), to know which small
// INSERTs to look at.
//
// The life of one routed table:
//
//  1. Enable makes the auxiliary table, the routing table and the view over
//     both, or checks what is there, and registers the table.
//  2. Every proxy reads the names anew within one renewal of its lease.
//  3. Loads hold the table's advisory lock in share mode (rewrite.TableLock)
//     and place each row where the routing table says.
//  4. A migration takes that lock for an instant to write down which groups it
//     will move (pgbulk.routing_moving). Loads from then on take the lock of
//     each such group that they have rows of (rewrite.GroupLock), and each group
//     is moved under the exclusive lock, its rows and its route in one
//     transaction, which also counts up pgbulk.routing_generation: a load with
//     an older snapshot fails with 40001 (pgbulk.routing_enter).
//  5. Disable removes what Enable made, once no group is in the auxiliary
//     table.
//
// The order of locks is the same for everybody: the table, its advisory lock,
// those of groups.
//
// To debug: `pgbulkproxy routing show` compares the pair and counts its groups;
// pg_locks has the advisory locks, classid 1885823602 for tables.
package routing
