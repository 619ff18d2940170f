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
//     CopyStatement, or answers with a Reason.
//  3. InspectSQL is one catalog query; the session runs it and ParseInspection
//     reads its row into an Inspection.
//  4. Classify takes statement, inspection and capabilities and decides: pass,
//     or stage by one of the engine's methods; always with a Reason.
//  5. CopyStatement.Native gives back COPY … FROM STDIN text for a replay.
package rewrite
