package sealed

import (
	"regexp"
	"strings"
)

// maxURL leaves room for session tokens of a few kilobytes.
const maxURL = 8192

// urlPattern allows nothing that means something to a shell inside single
// quotes, to curl's globbing, or to SQL. files.sql checks the same again.
var urlPattern = regexp.MustCompile(`\Ahttps?://[A-Za-z0-9.:_-]+/[A-Za-z0-9._~/%+=,:@&?-]*\z`)

func validURL(url string) bool { return len(url) <= maxURL && urlPattern.MatchString(url) }

// withoutQuery returns what of a pre-signed URL is no secret.
func withoutQuery(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}
