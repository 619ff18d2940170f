// Package relyt is the engine for Relyt, whose segments read S3 by external tables
// with the credentials in LOCATION.
//
// It owns that SQL. It was never run on a real server: it is written after what the
// loader of that database does and its documentation says, and held by golden plans
// (testdata). So rows go by COPY on the session, which every server that speaks
// PostgreSQL's protocol does exactly, unless load.method = external asks for more.
//
// The life of one load by external table:
//
//  1. PrepareSQL asks, once a load, for the columns' types, the encodings, and whether
//     the role may make a table beside the target.
//  2. The Plan's Open holds the store's credentials of the moment, which the server
//     shows to whoever may read pg_stat_activity, its log or its catalog. They should
//     be short-lived. The external table is made, read and dropped in one transaction,
//     by texts of their own.
//  3. What the server says to it goes through engine.Access.Mask before anybody sees it.
//  4. Where the server has no such grammar, or the count is wrong, the group is undone
//     and goes by COPY.
//
// To debug it: `pgbulkproxy explain --engine relyt --method external` shows the plan
// with "***" for credentials.
package relyt
