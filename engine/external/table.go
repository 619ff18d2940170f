package external

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// Name is that of the external table, unique to the group that begins with a file.
func Name(first engine.File) string {
	return "pgbulk_" + first.ProcessID + "_" + strconv.Itoa(first.Number)
}

// Columns are those of the external table, of a target with its types.
func Columns(t engine.Target) string {
	columns := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		columns[i] = pgident.Quote(name) + " " + t.Types[i]
	}
	return strings.Join(columns, ", ")
}

// Insert is the statement that reads an external table into the target.
func Insert(t engine.Target, table string) string {
	list, overriding := pgident.List(t.Columns), ""
	if t.OverridingSystem {
		overriding = " OVERRIDING SYSTEM VALUE"
	}
	return "INSERT INTO " + pgident.Qualified(t.Schema, t.Table) + " (" + list + ")" + overriding + " SELECT " + list + " FROM " + table
}

// What may stand in a LOCATION, which the protocol takes apart at blanks and
// signs of equality. It encodes the path itself, so nothing may be encoded yet.
var (
	endpointPattern = regexp.MustCompile(`\A[A-Za-z0-9._-]+(:[0-9]{1,5})?\z`)
	prefixPattern   = regexp.MustCompile(`\As3://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+/\z`)
	regionPattern   = regexp.MustCompile(`\A[A-Za-z0-9-]+\z`)
)

// Location is where a group's files are, without its options; why says what the
// protocol s3 does not take. There is one URL: with several, Greenplum loses files.
// The prefix ends with a slash, since the store compares it as a string.
func Location(g engine.Group) (url, why string) {
	switch {
	case !endpointPattern.MatchString(g.Endpoint):
		return "", "an endpoint that the s3 protocol does not take"
	case !prefixPattern.MatchString(g.Prefix):
		return "", "a prefix that the s3 protocol does not take"
	case !regionPattern.MatchString(g.Region):
		return "", "a region that the s3 protocol does not take"
	}
	return "s3://" + g.Endpoint + "/" + strings.TrimPrefix(g.Prefix, "s3://"), ""
}
