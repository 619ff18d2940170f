// Package pgquery is the only importer of pg_query, PostgreSQL 16's own
// scanner and grammar as a C library. It turns SQL text into small plain Go
// structs and keeps the parse tree to itself.
//
// It owns: which texts may reach the C parser at all. The parser recurses over
// expressions and has no stack check of its own, so a long enough `a+a+a+…`
// would end the process; and its cost grows faster than the text. Therefore
// every text goes through the flat scanner first, most are judged by their
// tokens alone, and what reaches the parser is bounded in the only place of a
// COPY that can nest, its WHERE clause.
//
// It must never hand out a text that it only half understood: a node or field
// that it has no place for is an error.
package pgquery
