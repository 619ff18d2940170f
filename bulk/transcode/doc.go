// Package transcode turns rows of COPY text or csv, and values in text format,
// into rows of COPY binary, which cost a server less to read.
//
// It owns the rule that a value is turned only where its binary form is surely
// what the type's input function makes of the text. It never guesses: a type
// that it doesn't know is ErrUnsupported before the first byte, a value in an
// unusual spelling is a *Fallback, and the caller then gives the server the
// client's own bytes. So it need not say what is wrong with a value, and never
// does. A value that it lets through may still be refused by the server (a label
// that an enum doesn't have, bytes that are no UTF-8, a string that is too long):
// wherever the receive function refuses what the input function takes, or both
// refuse, the client's own bytes are replayed as well, so errors stay native.
//
// What the receive function does in the same way as the input function is left
// to it: modifiers (numeric(10,2), varchar(5), timestamp(3)), the constraints of
// a domain, the parser of json. Strings go over as the bytes that they are; both
// ways check them and convert them from the client's encoding.
//
// Nothing that is taken depends on DateStyle: a date has to begin with a year of
// four digits or more. What depends on other settings is taken as Settings says.
//
// The life of one load: New, once the columns and settings are known; Append for
// every chunk of whole rows, or AppendRow for values that come one by one; the
// caller writes Header before the first row and Trailer behind the last. Ordered
// does the same on several cores.
//
// How a chunk is read: a row whose line holds neither a backslash (text) nor a
// quote (csv) is cut at its delimiters and nothing is copied; other rows go field
// by field. Chunks come from package rows, which has refused mixed line ends and
// taken end-of-copy markers away.
//
// To debug a wrong value, COPY it as text and by AppendRow into two tables of one
// column, and compare what COPY … TO gives for both in binary. The tests do so.
package transcode
