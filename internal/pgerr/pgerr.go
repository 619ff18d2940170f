// Package pgerr is the one error type with a SQLSTATE. Errors that a server
// sent keep every field they came with; errors of the proxy's own are made by
// New. Decisions on errors go by Code and Class, never by text.
package pgerr

import (
	"errors"
	"fmt"
	"strings"
)

// SQLSTATE codes that the proxy itself raises or decides on, from Appendix A
// of the PostgreSQL documentation.
const (
	ConnectionFailure      = "08006"
	ProtocolViolation      = "08P01"
	FeatureNotSupported    = "0A000"
	InvalidText            = "22P02"
	InvalidParameter       = "22023"
	InvalidColumnReference = "42P10"
	NotNullViolation       = "23502"
	CardinalityViolation   = "21000"
	InvalidAuthorization   = "28000"
	SerializationFailure   = "40001"
	InsufficientPrivilege  = "42501"
	SyntaxError            = "42601"
	NameTooLong            = "42622"
	UndefinedColumn        = "42703"
	UndefinedTable         = "42P01"
	OutOfMemory            = "53200"
	TooManyConnections     = "53300"
	ProgramLimitExceeded   = "54000"
	PrerequisiteState      = "55000"
	QueryCanceled          = "57014"
	AdminShutdown          = "57P01"
	CannotConnectNow       = "57P03"
	SystemError            = "58000"
	InternalError          = "XX000"
	ExternalRoutineFailed  = "38000"
)

// Field is one field of an ErrorResponse: a type byte such as 'C' (SQLSTATE)
// and its value, as section "Error and Notice Message Fields" of the protocol
// documentation lists them.
type Field struct {
	Type  byte
	Value string
}

// Error is an ErrorResponse: its fields in the order in which they were sent.
type Error struct {
	Fields []Field
}

// New returns an error of the proxy's own with severity ERROR.
func New(code, format string, args ...any) *Error {
	return withSeverity("ERROR", code, fmt.Sprintf(format, args...))
}

// Fatal returns an error of the proxy's own with severity FATAL: the session
// ends after it.
func Fatal(code, format string, args ...any) *Error {
	return withSeverity("FATAL", code, fmt.Sprintf(format, args...))
}

func withSeverity(sev, code, msg string) *Error {
	return &Error{Fields: []Field{{'S', sev}, {'V', sev}, {'C', code}, {'M', msg}}}
}

// Get returns the first field of that type, or "".
func (e *Error) Get(typ byte) string {
	for _, f := range e.Fields {
		if f.Type == typ {
			return f.Value
		}
	}
	return ""
}

// fieldOrder is the order in which the server sends fields (send_message_to_frontend
// in elog.c).
const fieldOrder = "SVCMDHWstcdnPpqFLR"

// With returns a copy in which the field of that type has the given value, in the
// place where the server would send it; an empty value removes the field.
func (e *Error) With(typ byte, value string) *Error {
	c := &Error{Fields: make([]Field, 0, len(e.Fields)+1)}
	done := value == ""
	for _, f := range e.Fields {
		if f.Type == typ {
			if done {
				continue
			}
			f.Value, done = value, true
		} else if !done && strings.IndexByte(fieldOrder, f.Type) > strings.IndexByte(fieldOrder, typ) && e.Get(typ) == "" {
			c.Fields, done = append(c.Fields, Field{typ, value}), true
		}
		c.Fields = append(c.Fields, f)
	}
	if !done {
		c.Fields = append(c.Fields, Field{typ, value})
	}
	return c
}

// Code returns the SQLSTATE, five characters, or "" where the server sent none.
func (e *Error) Code() string { return e.Get('C') }

// Class returns the first two characters of the SQLSTATE.
func (e *Error) Class() string {
	if c := e.Code(); len(c) >= 2 {
		return c[:2]
	}
	return ""
}

// IsFatal says whether the server ends the session after this error.
func (e *Error) IsFatal() bool {
	sev := e.Get('V')
	if sev == "" {
		sev = e.Get('S')
	}
	return sev == "FATAL" || sev == "PANIC"
}

// Error implements error as "message (SQLSTATE code)".
func (e *Error) Error() string {
	return fmt.Sprintf("%s (SQLSTATE %s)", e.Get('M'), e.Code())
}

// As returns the Error in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Parse reads the body of an ErrorResponse or NoticeResponse. What it cannot
// read, it leaves out: servers are untrusted, and a missing SQLSTATE must not
// harm (PgBouncer CVE-2026-6666).
func Parse(body []byte) *Error {
	e := &Error{}
	for len(body) > 1 && body[0] != 0 {
		end := indexZero(body[1:])
		if end < 0 {
			break
		}
		e.Fields = append(e.Fields, Field{body[0], string(body[1 : 1+end])})
		body = body[2+end:]
	}
	return e
}

func indexZero(p []byte) int {
	for i, c := range p {
		if c == 0 {
			return i
		}
	}
	return -1
}

// AppendBody appends the body of an ErrorResponse with these fields to dst.
func (e *Error) AppendBody(dst []byte) []byte {
	for _, f := range e.Fields {
		dst = append(dst, f.Type)
		dst = append(dst, f.Value...)
		dst = append(dst, 0)
	}
	return append(dst, 0)
}
