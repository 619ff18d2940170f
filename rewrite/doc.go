// Package rewrite understands bulk statements: SQL text in, a Statement and a
// Decision out. It is pure: no I/O, no clock, no session state but what its
// functions are given.
//
// It never guesses. Every node of the parsed statement is consumed, or the
// statement passes with a named Reason.
//
// The life of one COPY:
//
//  1. Prefilter looks at the first bytes, without allocation: does the text
//     start with COPY, INSERT or WITH (after blanks, comments and brackets)?
//  2. ParseCopy parses it with pg_query and turns each option into a field of
//     CopyStatement, or answers with a Reason or a Refusal.
//  3. CopyStatement.Inspectable looks at what the server has reported about the
//     session; where that leaves a doubt, the statement passes.
//  4. InspectSQL is one catalog query; the session runs it and ParseInspection
//     reads its row into an Inspection.
//  5. Classify takes statement, inspection and capabilities and decides: pass,
//     refuse, or stage by one of the engine's methods; always with a Reason.
//     What options and settings of our own ask for is in Extensions; a statement
//     with one of them is staged or refused, it never passes.
//  6. CopyStatement.Native gives back COPY … FROM STDIN text for a replay.
//
// To debug a decision: the Reason names the check; Reasons has a line about
// each; testdata/sql/copy shows statements with their decisions.
package rewrite
