package rows

import (
	"errors"
	"fmt"
)

// ErrIrregular says that the data holds something that only the server can
// judge: mixed line ends, an end-of-copy marker that is not alone on its line,
// a malformed binary header or field count, bytes behind a binary trailer, data
// that ends inside csv quotes. Every later call returns it too; all bytes that
// came so far are still the client's own.
var ErrIrregular = errors.New("irregular copy data")

// Options describe the data.
type Options struct {
	// Format is "text", "csv" or "binary".
	Format string
	// Quote and Escape are csv's; where zero they are '"' and the quote.
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
	// where no row ended in it. For binary it never lies before the header:
	// Cut >= Skip, and they are equal where no row ended.
	Cut int
	// At is the position at the last Cut behind a row, in this chunk or an
	// earlier one, counted from the start of the data; the final position where
	// Done.
	At Position
	// Done says that the data ended inside this chunk (text and csv `\.`, binary
	// trailer): bytes from Cut on are to be ignored, like all later chunks of
	// text and csv. Behind a binary trailer the server allows no more bytes, so
	// binary chunks must still be scanned: any that isn't empty is irregular.
	Done bool
	// Back, with Done, is how many bytes just before this chunk belong to the
	// end marker and are to be ignored too; only where Cut is 0.
	Back int
}

// Scanner scans one COPY's data. It is not safe for concurrent use.
type Scanner interface {
	// Scan looks at the next chunk, which may be empty or cut anywhere.
	Scan(p []byte) (Result, error)
	// End says that no more data comes, and returns the final position,
	// counting a last row without a line end. For binary a missing trailer is
	// fine, a missing header or half a tuple is ErrIrregular; a text marker
	// without its line end is ErrIrregular too (most servers raise an error).
	End() (Position, error)
}

// New returns a scanner for data described by o, or an error where the options
// make no sense to a server either.
func New(o Options) (Scanner, error) {
	if o.HeaderLines < 0 {
		return nil, fmt.Errorf("scan copy data: %d header lines", o.HeaderLines)
	}
	switch o.Format {
	case "text":
		return &textScanner{lines: lines{header: o.HeaderLines}}, nil
	case "csv":
		return newCSV(o)
	case "binary":
		if o.HeaderLines > 0 {
			return nil, errors.New("scan copy data: header lines in binary format")
		}
		if o.Columns < 0 || o.Columns > maxColumns {
			return nil, fmt.Errorf("scan copy data: %d columns", o.Columns)
		}
		return &binaryScanner{columns: o.Columns}, nil
	}
	return nil, fmt.Errorf("scan copy data: unknown format %q", o.Format)
}
