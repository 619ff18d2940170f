package rows

import "errors"

// ErrIrregular says that the data holds something that only the server can
// judge: mixed line ends, an end-of-copy marker that is not alone on its line,
// a malformed binary header or field count. The scanner must not be used
// further; all bytes that came so far are still the client's own.
var ErrIrregular = errors.New("irregular copy data")

// Options describe the data.
type Options struct {
	// Format is "text", "csv" or "binary".
	Format string
	// Quote and Escape are csv's; '"' where zero.
	Quote, Escape byte
	// HeaderLines is how many leading lines are not rows (text and csv).
	HeaderLines int
	// Columns is the number of fields each binary tuple must have; 0 accepts any.
	Columns int
	// CSVMarker says that a csv line `\.` ends the data (servers before 18).
	CSVMarker bool
}

// Position is a count of complete rows and physical lines. Lines counts as
// PostgreSQL's CONTEXT does: header lines and line ends inside csv quotes too;
// for binary, tuples.
type Position struct {
	Rows, Lines int64
}

// Result is what Scan found in one chunk.
type Result struct {
	// Skip is how many leading bytes of the chunk belong to the binary file
	// header (signature, flags, extension), which is not part of any row; 0 for
	// text and csv, whose header lines stay with the rows.
	Skip int
	// Cut is the offset just behind the last complete row in the chunk, or 0
	// where no row ended in it. For binary it never lies before the header.
	Cut int
	// At is the position at Cut, counted from the start of the data; where Cut
	// is 0 it is the position at the last row end before this chunk.
	At Position
	// Done says that the data ended inside this chunk (text `\.`, binary
	// trailer): bytes from Cut on are to be ignored, like all later chunks.
	Done bool
}

// Scanner scans one COPY's data. It is not safe for concurrent use.
type Scanner interface {
	// Scan looks at the next chunk, which may be empty or cut anywhere.
	Scan(p []byte) (Result, error)
	// End says that no more data comes, and returns the final position,
	// counting a last row without a line end. For binary a missing trailer is
	// fine, half a tuple is ErrIrregular.
	End() (Position, error)
}
