package greenplum

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// prepareSQL runs on every version since PostgreSQL 9.4: columns that only later
// catalogs have are asked for by name, as JSON.
//
// The rows of several segments reach the table in any order. So what a COPY
// numbers one after the other would get other numbers: a default of a function
// that may be nextval's.
const prepareSQL = `SELECT
 (SELECT pg_catalog.count(*) FROM pg_catalog.gp_segment_configuration WHERE content OPERATOR(pg_catalog.>=) 0 AND role OPERATOR(pg_catalog.=) 'p'),
 %[3]s,
 (SELECT pg_catalog.array_to_json(pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY w.n))
  FROM pg_catalog.unnest(%[2]s::pg_catalog.text[]) WITH ORDINALITY w(name, n), pg_catalog.pg_attribute a
  WHERE a.attrelid OPERATOR(pg_catalog.=) %[1]d AND a.attname OPERATOR(pg_catalog.=) w.name::pg_catalog.name AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped),
 EXISTS (SELECT FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
  WHERE a.attrelid OPERATOR(pg_catalog.=) %[1]d AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attname OPERATOR(pg_catalog.<>) ALL (%[2]s::pg_catalog.name[])
  AND (pg_catalog.row_to_json(a) OPERATOR(pg_catalog.->>) 'attidentity' OPERATOR(pg_catalog.<>) '' OR EXISTS (
   SELECT FROM pg_catalog.regexp_matches(d.adbin::pg_catalog.text, ':(?:op)?funcid ([0-9]+)', 'g') f, pg_catalog.pg_proc p
   WHERE p.oid OPERATOR(pg_catalog.=) f[1]::pg_catalog.oid AND p.provolatile OPERATOR(pg_catalog.=) 'v'))),
 pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'),
 %[4]s`

// What the role needs for each protocol.
const (
	mayS3 = `EXISTS (SELECT FROM pg_catalog.pg_extprotocol WHERE ptcname OPERATOR(pg_catalog.=) 's3' AND (pg_catalog.pg_has_role(ptcowner, 'USAGE') OR ptctrusted AND EXISTS (
  SELECT FROM pg_catalog.aclexplode(ptcacl) x WHERE x.privilege_type OPERATOR(pg_catalog.=) 'SELECT' AND (x.grantee OPERATOR(pg_catalog.=) 0 OR pg_catalog.pg_has_role(x.grantee, 'USAGE')))))`
	mayPull = `EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user AND (rolsuper OR rolcreaterextgpfd))`
)

// PrepareSQL implements engine.Preparer.
func (greenplum) PrepareSQL(t engine.Target, encoding string) string {
	files := "pg_catalog.pg_client_encoding()"
	if encoding != "" {
		files = pgident.Literal(encoding)
	}
	may := mayS3
	if t.Pull {
		may = mayPull
	}
	return fmt.Sprintf(prepareSQL, t.OID, pgident.LiteralArray(t.Columns), files, may)
}

// Prepare implements engine.Preparer.
func (greenplum) Prepare(t engine.Target, row [][]byte) (engine.Target, error) {
	if len(row) != 6 {
		return t, fmt.Errorf("engine greenplum: %w: an answer of %d columns", engine.ErrUnsupported, len(row))
	}
	yes := func(i int) bool { return string(row[i]) == "t" }
	segments, err := strconv.Atoi(string(row[0]))
	if err == nil {
		err = json.Unmarshal(row[2], &t.Types)
	}
	switch {
	case err != nil || segments < 1 || len(t.Types) != len(t.Columns):
		return t, fmt.Errorf("engine greenplum: %w: catalogs that are not Greenplum's", engine.ErrUnsupported)
	case yes(3):
		return t, fmt.Errorf("engine greenplum: %w: a default whose values depend on the order of the rows", engine.ErrUnsupported)
	case !yes(4):
		return t, fmt.Errorf("engine greenplum: %w: no privilege for temporary tables", engine.ErrUnsupported)
	case !yes(5):
		return t, fmt.Errorf("engine greenplum: %w: no protocol s3 or gpfdist, or no privilege for it", engine.ErrUnsupported)
	}
	t.Readers, t.Encoding = segments, string(row[1])
	return t, nil
}
