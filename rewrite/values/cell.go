package values

// Kind says how a constant was written.
type Kind uint8

// The kinds of constants.
const (
	// Null is the word NULL.
	Null Kind = iota
	// String is a quoted constant in any of its forms; Text is its value.
	String
	// Integer is digits with or without a sign, Text as written in decimal: a
	// sign only if negative, no underscores.
	Integer
	// Decimal is a number with a point or an exponent, Text likewise.
	Decimal
	// True and False are the words.
	True
	False
	// Param is $n; Number is n.
	Param
	// Default is the word DEFAULT.
	Default
)

// Cell is one constant of a row. Text and Cast are valid until the lexer's next
// Row.
type Cell struct {
	Kind Kind
	// Text is the decoded value of a String, the digits of a number, else nil.
	Text []byte
	// Cast is the type as written in 'x'::type, CAST('x' AS type) or type 'x',
	// without the blanks around it; nil where there is none.
	Cast []byte
	// Number is that of a Param.
	Number int
}
