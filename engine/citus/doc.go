// Package citus is the engine of PostgreSQL with Citus, by its coordinator: it
// reads files as engine postgres does. What differs is what the proxy says on the
// client's session, since tables there may be spread over other servers
// (engine.Caps.Sharded), and that nothing of ours may be spread with them.
//
// It owns what an installation needs besides. It never sees rows.
//
// The life of one file: as in package postgres. The coordinator runs the program,
// reads its output, and sends each row to the shard where it belongs.
package citus
