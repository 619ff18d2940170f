// Package archtest holds the shape of the code: which package may import which,
// where third-party modules may be seen, how long files and functions are, and
// that everything exported is documented. It has tests only; they read the
// files themselves, so they need nothing but the source.
//
// When a test here fails, either the code goes elsewhere or the table changes,
// with a reason beside it.
package archtest
