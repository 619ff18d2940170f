package engine

import "regexp"

// queries matches the query of every http URL in a text, up to what may follow
// a URL: a blank or a quote.
var queries = regexp.MustCompile(`(?i)(https?://[^\s'"<>?]*)\?[^\s'"<>]*`)

// tokens matches the path of every gpfdist URL.
var tokens = regexp.MustCompile(`(?i)(gpfdists?://[^\s'"<>/]*/)[^\s'"<>,):]+`)

// credentials matches the words of an s3 LOCATION that are secret, up to a quoted
// literal's end; a server may show them as options with quotes of their own.
var credentials = regexp.MustCompile(`(?i)\b((?:accessid|secret|token|access_key|secret_key|session_token)["']?(?:\s*[=:]\s*["']?|\s+'))[^\s'",)}]+`)

// MaskURL returns text without secrets of ours: the query of every URL is replaced by
// "***", where the secret of a pre-signed URL stands, and so are the credentials in
// the LOCATION of an external table, and the path of a gpfdist URL. Servers name the program that failed, and so its
// URL, in their errors, and statements in their contexts. Whatever of a server's is
// logged, shown or kept goes through this one function.
func MaskURL(text string) string {
	text = tokens.ReplaceAllString(queries.ReplaceAllString(text, "${1}?***"), "${1}***")
	return credentials.ReplaceAllString(text, "${1}***")
}
