// Package values reads the rows of an INSERT … VALUES list without building a
// tree, and says which text COPY needs for the same values.
//
// It owns: the lexer over the list, which knows every form of a constant that
// PostgreSQL 14 to 18 know (lexer.go), and the table of which constant may go
// into which column by which text (typing.go). It never decides whether a
// statement is taken, never evaluates an expression, and never guesses: what is
// not a constant, or whose value in its column is not surely that text, is
// refused, and the statement goes to the server as it is.
//
// The parameters of a Bind become such constants, too (param.go).
//
// The life of one list: the lexer is placed behind the word VALUES, Row returns
// the cells of one row after the other, which point into the statement where
// nothing had to be decoded, and an Encoder turns each into a line of COPY text (AppendRow), or its cells
// into elements of arrays (AppendElements). The rest
// of the statement begins where the lexer stopped.
package values
