package check

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Facts are what tells the kinds of server apart.
type Facts struct {
	// Version is what version() returns.
	Version string
	// Number is server_version_num: of the PostgreSQL that the server is, or was
	// made from.
	Number int
	// Extensions are the versions of the extensions in this database.
	Extensions map[string]string
	// FileFDW: extension file_fdw could be made here, or is there.
	FileFDW bool
	// Installed: schema pgbulk has its functions in this database.
	Installed bool
}

// FactsSQL returns the facts as one row. Every server understands it, from
// PostgreSQL 9.4 on.
const FactsSQL = `SELECT pg_catalog.version(), pg_catalog.current_setting('server_version_num'),
 (SELECT pg_catalog.string_agg(extname || ' ' || extversion, E'\n') FROM pg_catalog.pg_extension),
 CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'file_fdw') THEN true
      ELSE EXISTS (SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = 'file_fdw') END,
 EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
          WHERE n.nspname = 'pgbulk' AND p.proname = 'version')`

// ReadFacts asks a server.
func ReadFacts(ctx context.Context, db DB) (Facts, error) {
	rows, err := db.Query(ctx, FactsSQL)
	if err != nil {
		return Facts{}, err
	}
	if len(rows) != 1 || len(rows[0]) != 5 {
		return Facts{}, errors.New("the server says nothing of itself")
	}
	return ParseFacts(rows[0])
}

// ParseFacts reads the row of FactsSQL.
func ParseFacts(row []string) (Facts, error) {
	number, err := strconv.Atoi(row[1])
	if err != nil {
		return Facts{}, fmt.Errorf("server_version_num: %w", err)
	}
	f := Facts{Version: row[0], Number: number, Extensions: map[string]string{}, FileFDW: row[3] == "t", Installed: row[4] == "t"}
	for _, line := range strings.Split(row[2], "\n") {
		if i := strings.LastIndexByte(line, ' '); i > 0 {
			f.Extensions[line[:i]] = line[i+1:]
		}
	}
	return f, nil
}

// products are the names that servers made from PostgreSQL give themselves in
// version(), such as "PostgreSQL 9.4.26 (Greenplum Database 6.24.3 build 1) on …".
var products = regexp.MustCompile(`(?i)\((?:Apache )?(Greenplum|Greengage|WarehousePG|Cloudberry|Relyt)[A-Za-z ]*([0-9][0-9.]*)?`)

// Product returns the name, in small letters, that the server gives itself, and its
// version; "" for a PostgreSQL.
func (f Facts) Product() (name, version string) {
	if m := products.FindStringSubmatch(f.Version); m != nil {
		return strings.ToLower(m[1]), strings.TrimSuffix(m[2], ".")
	}
	if strings.Contains(strings.ToLower(f.Version), "relyt") {
		return "relyt", ""
	}
	return "", ""
}

// Postgres is the version of PostgreSQL, as "15.8"; as far as a number tells.
func (f Facts) Postgres() string {
	if f.Number >= 100000 {
		return fmt.Sprintf("%d.%d", f.Number/10000, f.Number%10000)
	}
	return fmt.Sprintf("%d.%d.%d", f.Number/10000, f.Number/100%100, f.Number%100)
}

// Major is PostgreSQL's: 15, or 9 for all of 9.x.
func (f Facts) Major() int { return f.Number / 10000 }
