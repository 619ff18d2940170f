package transcode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Header is what COPY binary data begins with, and Trailer its end.
const (
	Header  = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	Trailer = "\xff\xff"
)

// ErrUnsupported says that a load can't be transcoded at all.
var ErrUnsupported = errors.New("no surely equal binary form")

// Fallback says which value has no surely equal binary form, counted from zero
// in the chunk at hand. The row may also be malformed.
type Fallback struct{ Row, Column int }

// Error implements error.
func (f *Fallback) Error() string {
	return fmt.Sprintf("row %d, column %d: no surely equal binary form", f.Row+1, f.Column+1)
}

// Column says what a column stores.
type Column struct {
	// Base is the oid of its type, or of the type below its domain.
	Base uint32
	// Typmod is the column's, or the domain's; -1 where there is none.
	Typmod int32
	// Enum says that the base type is an enum.
	Enum bool
	// Element is the type of an array's elements, ElementOID how the array's type
	// names it. Those of the arrays of known types may be left out.
	Element    *Column
	ElementOID uint32
	// ForceNull and ForceNotNull are the options of csv.
	ForceNull, ForceNotNull bool
}

// Format says how the rows of a chunk are written.
type Format struct {
	CSV bool
	// Delimiter is a tab or a comma where zero, Quote '"', Escape the quote.
	Delimiter, Quote, Escape byte
	// Null is as COPY has it, and has no default here.
	Null string
}

// Settings are those of the session that change what text means. Those that are
// empty are unknown, and what depends on them isn't taken.
type Settings struct {
	// Version is server_version_num.
	Version int
	// ClientEncoding is that of the data; the session's has to be the same.
	ClientEncoding, ServerEncoding string
	TimeZone                       string
	// Abbreviations is timezone_abbreviations.
	Abbreviations string
	IntervalStyle string
	ArrayNulls    bool
}

// minVersion is the oldest server whose functions were compared with.
const minVersion = 140000

// column is a Column with its way.
type column struct {
	// write is nil where the bytes go as they are.
	write                   writer
	forceNull, forceNotNull bool
}

// A writer appends the binary form of a value, or reports false.
type writer func(dst, text []byte) ([]byte, bool)

// Transcoder turns the rows of one load. It is for one goroutine; Clone gives
// another for the same load.
type Transcoder struct {
	cols     []Column
	settings Settings
	format   Format
	columns  []column
	valid    func([]byte) bool
	scratch  []byte
}

// New returns a transcoder, or ErrUnsupported.
func New(cols []Column, format Format, s Settings) (*Transcoder, error) {
	if s.Version < minVersion || len(cols) == 0 || len(cols) > maxColumns {
		return nil, ErrUnsupported
	}
	// The receive functions convert as COPY does, but an escape as \xe4 in text
	// stands for a byte in the server's encoding.
	if s.ClientEncoding == "" || s.ClientEncoding != s.ServerEncoding {
		return nil, fmt.Errorf("encoding %q into %q: %w", s.ClientEncoding, s.ServerEncoding, ErrUnsupported)
	}
	t := &Transcoder{cols: cols, settings: s, format: format.withDefaults(), columns: make([]column, len(cols)), valid: s.valid()}
	for i := range cols {
		c := &cols[i]
		write, ok := writerOf(c, &s)
		if !ok {
			return nil, fmt.Errorf("column %d, type %d: %w", i+1, c.Base, ErrUnsupported)
		}
		t.columns[i] = column{write, c.ForceNull, c.ForceNotNull}
	}
	return t, nil
}

// valid returns what says that bytes are surely valid in the server's encoding.
// The server looks before it takes escapes and quotes away, which may join what
// stood apart to a valid character.
func (s *Settings) valid() func([]byte) bool {
	if s.ServerEncoding == "UTF8" {
		return utf8.Valid
	}
	return ascii
}

func ascii(p []byte) bool {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// maxColumns is a server's bound.
const maxColumns = 1600

func (f Format) withDefaults() Format {
	if f.Delimiter == 0 {
		f.Delimiter = '\t'
		if f.CSV {
			f.Delimiter = ','
		}
	}
	if f.Quote == 0 {
		f.Quote = '"'
	}
	if f.Escape == 0 {
		f.Escape = f.Quote
	}
	return f
}

// Clone returns a transcoder for another goroutine.
func (t *Transcoder) Clone() *Transcoder {
	c, err := New(t.cols, t.format, t.settings)
	if err != nil {
		panic(err) // it was made of the same
	}
	return c
}

// Append appends the rows of chunk, which holds whole rows; the last one's line
// end may be missing where the data ends. It returns how many rows it appended:
// fewer than there are with a *Fallback.
func (t *Transcoder) Append(dst, chunk []byte) (out []byte, rows int, err error) {
	if t.format.CSV {
		return t.appendCSV(dst, chunk)
	}
	return t.appendText(dst, chunk)
}

// AppendRow appends a row of values in text format; those that are nil are NULL.
// It returns dst as it was with a *Fallback.
func (t *Transcoder) AppendRow(dst []byte, values [][]byte) ([]byte, error) {
	if len(values) != len(t.columns) {
		return dst, &Fallback{Column: min(len(values), len(t.columns))}
	}
	start := len(dst)
	dst = t.beginRow(dst)
	for i, value := range values {
		var ok bool
		if value == nil {
			dst = appendNull(dst)
		} else if dst, ok = t.columns[i].append(dst, value); !ok {
			return dst[:start], &Fallback{Column: i}
		}
	}
	return dst, nil
}

func (t *Transcoder) beginRow(dst []byte) []byte {
	return binary.BigEndian.AppendUint16(dst, uint16(len(t.columns)))
}

func appendNull(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff) }

// append appends the field of a value, with its length.
func (c *column) append(dst, value []byte) ([]byte, bool) {
	start := len(dst)
	if c.write == nil {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
		return append(dst, value...), true
	}
	dst, ok := c.write(append(dst, 0, 0, 0, 0), value)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst, ok
}
