// Package rows finds the boundaries of rows in COPY data, in text, csv and
// binary format, whatever the chunks it arrives in. It never changes, copies
// or keeps data: a scanner looks at each byte once and counts.
//
// It owns the rules of PostgreSQL's src/backend/commands/copyfromparse.c about
// where a row ends. It does not validate values or the number of columns: the
// server does. Where it meets something whose meaning depends on more than row
// boundaries (an end-of-copy marker within a line, mixed line ends), it returns
// ErrIrregular and the caller lets the server read the bytes natively. The same
// goes for the values of one column of a small COPY (column.go), for which alone
// data is unescaped.
//
// The bytes must be in an encoding whose multi-byte characters hold no ASCII
// (UTF-8, LATIN1, EUC_*; not SJIS, BIG5, GBK, UHC, GB18030, JOHAB): the server
// looks for line ends after it converted the data, we look before.
//
// The life of one load: New; Scan for every chunk in order; Cut gives a place
// where a file may end; End when the data is complete.
//
// How a chunk is scanned: a byte-at-a-time machine (step in text.go and csv.go)
// is the one judge of the rules. It runs until the line end is known and the
// header lines are over, and wherever something unusual stands. In between,
// pieces without anything special are only counted, and blocks of 64 bytes are
// turned into bit masks (mask.go), one bit a byte; a block that the masks don't
// prove harmless goes back to the machine. So the fast ways only ever count
// rows, and never decide that data is irregular or at its end.
//
// To debug a wrong boundary, feed the data one byte a chunk: the results must
// be the same, and each Result then belongs to one byte.
package rows
