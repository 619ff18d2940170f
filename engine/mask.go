package engine

import "regexp"

// queries matches the query of every http URL in a text, up to what may follow
// a URL: a blank or a quote.
var queries = regexp.MustCompile(`(?i)(https?://[^\s'"<>?]*)\?[^\s'"<>]*`)

// MaskURL returns text with the query of every URL in it replaced by "***": in
// a pre-signed URL that is where the secret stands. Servers name the program
// that failed, and so its URL, in their errors.
func MaskURL(text string) string { return queries.ReplaceAllString(text, "${1}?***") }
