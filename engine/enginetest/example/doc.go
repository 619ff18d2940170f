// Package example is an engine for tests, and the answer to how little one is: it
// reads a file by COPY FROM PROGRAM into a temporary table, as a role that may run
// programs. CONTRIBUTING's recipe for engines leads here.
//
// It owns the plan of one file, and never sees rows.
//
// The life of one file: Open makes the temporary table and fills it, Insert moves
// the rows, Close records the import and drops the table.
package example
