package values

// PassParamType: the parameter's type is not the column's, or its binary form
// is not known to be a text that stores the same.
const PassParamType Pass = "insert_param_type"

// A converter appends the text of a value to dst. Where it doesn't surely know
// that text it reports false.
type converter func(dst, data []byte) ([]byte, bool)

// Parameter is what is known of a parameter before its value comes: how it
// becomes a constant for its column.
type Parameter struct {
	cast []byte
	// read makes text of the binary format, nil where the bytes are the text.
	read converter
	// assign makes text for the column's type of the text of the parameter's, nil
	// where the column reads that text as it is.
	assign converter
}

// NewParam returns how the values of a parameter get into a column. The type
// oid is the one that Parse declares, zero where it leaves it to the server,
// which then takes the column's own, or that of the cast as $1::type. Where the
// server would have to assign between types in a way that is not known here,
// the error is a Pass, also for NULL.
//
// A parameter that stands in several places has the type that it got in the
// first; its oid in the others is that one.
func NewParam(col *Column, cast []byte, oid uint32, binary bool) (Parameter, error) {
	p := Parameter{cast: cast}
	if oid == oidUnknown {
		oid = 0 // undetermined to the server as well
	}
	if cast != nil && oid != 0 && (oid != col.Base || oid == oidBPChar) {
		return p, PassParamType // a bpchar loses its blanks in a varchar
	}
	if oid == 0 {
		oid = col.Base
	}
	if oid != col.Base {
		var ok bool
		if p.assign, ok = assignment(oid, col, binary); !ok {
			return p, PassParamType
		}
	}
	if !binary {
		p.read = textReader(col)
		return p, nil
	}
	var ok bool
	if p.read, ok = reader(oid, col); !ok {
		return p, PassParamType
	}
	return p, nil
}

// textReader returns the converter for text that the column's input function
// reads with the column's modifier in COPY, but natively without it.
func textReader(col *Column) converter {
	switch {
	case col.Typmod < 0:
		return nil
	case col.Base == oidInterval:
		return unread // it says what the text means: '1' is an hour in interval hour
	case col.Base == oidNumeric:
		return modestNumber // the modifier may save a number from being too long
	}
	return nil
}

// Cell returns the constant for a value: a Null where data is nil, else a
// String. Its Text lies in data or in what is appended to scratch.
func (p *Parameter) Cell(data, scratch []byte) (cell Cell, newScratch []byte, err error) {
	if data == nil {
		return Cell{Kind: Null, Cast: p.cast}, scratch, nil
	}
	text, grown, ok := data, scratch, true
	if p.read != nil {
		if grown, ok = p.read(scratch, data); !ok {
			return Cell{}, scratch, PassParamType
		}
		text = grown[len(scratch):]
	}
	if p.assign != nil {
		start := len(grown)
		if grown, ok = p.assign(grown, text); !ok {
			return Cell{}, scratch, PassParamType
		}
		text = grown[start:]
	}
	return Cell{Kind: String, Text: text, Cast: p.cast}, grown, nil
}

// ParamCell is NewParam and Cell in one.
func ParamCell(col *Column, cast []byte, oid uint32, binary bool, data, scratch []byte) (cell Cell, newScratch []byte, err error) {
	p, err := NewParam(col, cast, oid, binary)
	if err != nil {
		return Cell{}, scratch, err
	}
	return p.Cell(data, scratch)
}

// unread is the converter of what has no known text.
func unread(dst, _ []byte) ([]byte, bool) { return dst, false }

// assignment says how a value of type oid is assigned to a column of another
// type: those of PostgreSQL's own casts that clients rely on and that have an
// exact text. The converter is nil where the column reads the same text.
func assignment(oid uint32, col *Column, binary bool) (assign converter, ok bool) {
	switch oid {
	case oidText, oidVarchar:
		switch col.Base {
		case oidText, oidVarchar, oidBPChar, oidName:
			return nil, true
		}
	case oidTextArray, oidVarcharArray:
		return nil, col.Base == oidTextArray || col.Base == oidVarcharArray
	case oidInt2, oidInt4, oidInt8:
		return integerAssignment(oid, col.Base, binary)
	case oidFloat4, oidFloat8:
		return floatAssignment(oid, col.Base)
	case oidNumeric:
		switch col.Base {
		case oidInt2, oidInt4, oidInt8:
			return numericToInteger, true
		case oidFloat4, oidFloat8:
			return numericToFloat, true
		}
	case oidJSON:
		return nil, col.Base == oidJSONB
	case oidDate:
		return plainDate, col.Base == oidTimestamp || col.Base == oidTimestamptz
	case oidTimestamp:
		return plainTimestamp, col.Base == oidTimestamptz
	}
	return nil, false
}
