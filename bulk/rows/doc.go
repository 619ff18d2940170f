// Package rows finds the boundaries of rows in COPY data, in text, csv and
// binary format, whatever the chunks it arrives in. It never changes, copies
// or keeps data: a scanner looks at each byte once and counts.
//
// It owns the rules of PostgreSQL's src/backend/commands/copyfromparse.c about
// where a row ends. It does not validate values or the number of columns: the
// server does. Where it meets something whose meaning depends on more than row
// boundaries (an end-of-copy marker within a line, mixed line ends), it returns
// ErrIrregular and the caller lets the server read the bytes natively.
//
// The life of one load: New; Scan for every chunk in order; Cut gives a place
// where a file may end; End when the data is complete.
package rows
