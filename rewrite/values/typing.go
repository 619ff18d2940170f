package values

import "bytes"

// Pass says why a constant has no COPY text that surely stores the same value.
// It is a fixed word, never anything of the client's.
type Pass string

// The reasons to pass.
const (
	// PassParameter and PassDefault: the cell is no constant.
	PassParameter Pass = "insert_parameter"
	PassDefault   Pass = "insert_default"
	// PassRowLength: a row has more or fewer cells than there are columns.
	PassRowLength Pass = "insert_row_length"
	// PassCast: a cast to something else than the column's own type.
	PassCast Pass = "insert_cast"
	// PassConstant: a number or a boolean that the column's type does not take,
	// or not by a rule that is known here.
	PassConstant Pass = "insert_constant"
	// PassColumnType: what the type makes of a string depends on the way.
	PassColumnType Pass = "insert_column_type"
	// PassNumber: a number of more than maxNumber digits.
	PassNumber Pass = "insert_number"
	// PassNUL: a NUL byte, which nothing can store.
	PassNUL Pass = "insert_nul"
)

// Error is the reason itself.
func (p Pass) Error() string { return string(p) }

// A way is how one kind of constant becomes the COPY text of one column.
type way uint8

const (
	// refuse is the zero way: what is not known is not done.
	refuse way = iota
	// asText: the column's input function reads the same text natively.
	asText
	// asDigits: an integer without leading zeros.
	asDigits
	// asNumber: a decimal as it is written.
	asNumber
	// asFloat: a decimal as it is written, but numeric knows no negative zero.
	asFloat
	// asInteger: a decimal rounded half away from zero.
	asInteger
	// asPlain: a decimal as numeric prints it.
	asPlain
	// asShort: an integer of so few digits that no way to float4 rounds twice.
	asShort
	// asUnsigned: an integer that is not negative.
	asUnsigned
	// asWord: true or false.
	asWord
)

// The types with rules of their own, by oid.
const (
	oidBool        = 16
	oidChar        = 18
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidJSON        = 114
	oidJSONArray   = 199
	oidFloat4      = 700
	oidFloat8      = 701
	oidBPChar      = 1042
	oidVarchar     = 1043
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidInterval    = 1186
	oidTimetz      = 1266
	oidBit         = 1560
	oidVarbit      = 1562
	oidNumeric     = 1700
)

// column is a Column and what follows from it.
type column struct {
	Column
	own   spelling
	ways  [Default + 1]way
	match bool // whether the cast that was seen last is the column's type
	cast  []byte
}

// waysOf is the table of what may go where: the assignment casts from int4,
// int8, numeric and bool, which are the types of bare constants. Everything
// else that the grammar would take (money, reg*, user-defined casts) passes.
//
// A domain behaves as its base type; its input function holds its constraints
// in COPY as its coercion does in INSERT.
func waysOf(c *Column) (ways [Default + 1]way) {
	if takesString(c) {
		ways[String] = asText
	}
	switch c.Base {
	case oidBool:
		ways[True], ways[False] = asWord, asWord
	case oidInt2, oidInt4, oidInt8:
		ways[Integer], ways[Decimal] = asDigits, asInteger
	case oidNumeric:
		ways[Integer], ways[Decimal] = asDigits, asNumber
	case oidFloat8:
		ways[Integer], ways[Decimal] = asDigits, asFloat
	case oidFloat4:
		ways[Integer], ways[Decimal] = asShort, asFloat
	case oidOID:
		ways[Integer] = asUnsigned
	case oidText, oidVarchar, oidBPChar:
		if c.UserCast {
			break // somebody's own assignment from a number, or from bool perhaps
		}
		// bool has a cast to these three alone; other string types would get
		// what its output function says, t or f.
		ways[True], ways[False] = asWord, asWord
		ways[Integer], ways[Decimal] = asDigits, asPlain
	default:
		// Any type of the category takes any other's output as its input, unless
		// pg_cast knows better.
		if c.Category == "S" && c.Base != oidChar && !c.UserCast && ways[String] == asText {
			ways[Integer], ways[Decimal] = asDigits, asPlain
		}
	}
	return ways
}

// takesString says whether the input function with the column's modifier, which
// is what COPY runs, makes the same of a text as the input function without it
// and the length coercion behind, which is what INSERT runs. An interval's
// modifier also says what its input means ('1' is an hour in interval hour):
// INSERT hands it over for an interval, but not for an array of them. What
// types of extensions do is not known.
func takesString(c *Column) bool {
	if c.Typmod < 0 {
		return c.Base != 0
	}
	switch c.Base {
	case oidBPChar, oidVarchar, oidTime, oidTimestamp, oidTimestamptz, oidInterval, oidTimetz, oidBit, oidVarbit, oidNumeric:
		return true
	case 1014, 1015, 1183, 1115, 1185, 1270, 1561, 1563, 1231: // arrays of these, but for interval's 1187
		return true
	}
	return false
}

// Encoder turns rows into COPY text: tabs between, \N for NULL, newline at the
// end. It is for one statement and one goroutine.
//
// The bytes of the text stand for ASCII characters where they are below 0x80.
// That is so in every encoding that a server can have, but not in all that a
// client can have (SJIS, BIG5, GBK, UHC, GB18030, JOHAB).
type Encoder struct {
	columns []column
	// texts are those of Texts, and written what had to be written for them.
	texts   [][]byte
	written []byte
}

// NewEncoder returns an encoder for rows of these columns, in the order in
// which the statement names them.
func NewEncoder(columns []Column) *Encoder {
	e := &Encoder{columns: make([]column, len(columns))}
	for i := range columns {
		c := &columns[i]
		e.columns[i] = column{Column: *c, own: parseSpelling([]byte(c.Name)), ways: waysOf(c)}
	}
	return e
}

// AppendRow appends the line of one row. Where a cell has no text that surely
// stores what the INSERT would store, it returns dst as it was and a Pass.
//
// The server may still refuse the line, wherever it would refuse the INSERT,
// and in one more case: a cast that cuts, as 'abc'::char(2) does.
func (e *Encoder) AppendRow(dst []byte, cells []Cell) ([]byte, error) {
	if len(cells) != len(e.columns) {
		return dst, PassRowLength
	}
	start := len(dst)
	for i := range cells {
		if i > 0 {
			dst = append(dst, '\t')
		}
		var err error
		if dst, err = e.columns[i].append(dst, &cells[i]); err != nil {
			return dst[:start], err
		}
	}
	return append(dst, '\n'), nil
}

// Texts returns a row as the columns' input functions get it from AppendRow's line:
// nil is NULL. It is good until the next call, and as long as the cells.
func (e *Encoder) Texts(cells []Cell) ([][]byte, error) {
	if len(cells) != len(e.columns) {
		return nil, PassRowLength
	}
	e.texts, e.written = e.texts[:0], e.written[:0]
	for i := range cells {
		text, err := e.text(&e.columns[i], &cells[i])
		if err != nil {
			return nil, err
		}
		e.texts = append(e.texts, text)
	}
	return e.texts, nil
}

func (e *Encoder) text(c *column, cell *Cell) (text []byte, err error) {
	if cell.Cast != nil && !c.casts(cell) {
		return nil, PassCast
	}
	switch cell.Kind {
	case Null:
		return nil, nil
	case String:
		if bytes.IndexByte(cell.Text, 0) >= 0 {
			return nil, PassNUL
		}
		if cell.Text == nil {
			return []byte{}, nil
		}
		return cell.Text, c.takes(cell.Text)
	}
	if asWritten(cell.Text, c.ways[cell.Kind]) {
		return cell.Text, nil
	}
	start := len(e.written)
	e.written, err = c.appendBare(e.written, cell)
	return e.written[start:], err
}

// takes says whether a string goes into the column as it is.
func (c *column) takes(text []byte) error {
	if c.ways[String] != asText {
		return PassColumnType
	}
	if c.Base == oidNumeric && c.Typmod >= 0 && (len(text) > maxPlainNumeric || bytes.ContainsAny(text, "eE")) {
		// Without its modifier numeric has no room for some that COPY rounds to zero.
		if _, ok := modestNumber(nil, text); !ok {
			return PassNumber
		}
	}
	return nil
}

// maxPlainNumeric is a length at which no digits can be out of numeric's range.
const maxPlainNumeric = 100

func (c *column) append(dst []byte, cell *Cell) ([]byte, error) {
	if cell.Cast != nil && !c.casts(cell) {
		return dst, PassCast
	}
	switch cell.Kind {
	case Null:
		return append(dst, '\\', 'N'), nil
	case String:
		if err := c.takes(cell.Text); err != nil {
			return dst, err
		}
		return appendEscaped(dst, cell.Text)
	default:
		return c.appendBare(dst, cell)
	}
}

// appendBare appends what needs no escape: a number or a boolean.
func (c *column) appendBare(dst []byte, cell *Cell) ([]byte, error) {
	switch cell.Kind {
	case Integer, Decimal:
		return appendNumber(dst, cell.Text, c.ways[cell.Kind])
	case True, False:
		if c.ways[cell.Kind] != asWord {
			return dst, PassConstant
		}
		if cell.Kind == True {
			return append(dst, "true"...), nil
		}
		return append(dst, "false"...), nil
	case Param:
		return dst, PassParameter
	default:
		return dst, PassDefault
	}
}
