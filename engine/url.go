package engine

import (
	"regexp"
	"strings"
)

// maxURL leaves room for session tokens of a few kilobytes.
const maxURL = 8192

// urlPattern allows nothing that means something to a shell inside single
// quotes, to curl's globbing, or to SQL. install.sql checks the same again.
var urlPattern = regexp.MustCompile(`\Ahttps?://[A-Za-z0-9.:_-]+/[A-Za-z0-9._~/%+=,:@&?-]*\z`)

func validURL(url string) bool { return len(url) <= maxURL && urlPattern.MatchString(url) }

// queries matches the query of every http URL in a text, up to what may follow
// a URL: a blank or a quote.
var queries = regexp.MustCompile(`(?i)(https?://[^\s'"<>?]*)\?[^\s'"<>]*`)

// MaskURL returns text with the query of every URL in it replaced by "***": in
// a pre-signed URL that is where the secret stands. Servers name the program
// that failed, and so its URL, in their errors.
func MaskURL(text string) string { return queries.ReplaceAllString(text, "${1}?***") }

// withoutQuery returns what of a pre-signed URL is no secret.
func withoutQuery(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}
