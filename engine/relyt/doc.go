// Package relyt is the engine for Relyt, whose segments read S3 by external tables
// with the credentials in LOCATION.
//
// It owns that SQL. It was never run on a real server: it is written after what the
// loader of that database does, and held by golden plans (testdata). So its Caps do
// not switch external tables on yet: rows go by COPY on the session, which every
// server that speaks PostgreSQL's protocol does exactly.
//
// The life of one load by external table: as package engine says; the text of the
// statement holds the store's credentials, which the server shows to whoever may
// read pg_stat_activity, its log or its catalog. Access should be short-lived.
// engine.MaskURL takes them out of all that we print.
package relyt
