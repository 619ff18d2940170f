package greenplum

import (
	"fmt"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/external"
)

// prepareSQL asks what external tables need everywhere, and then for the number of
// segments, and for the rights.
const prepareSQL = `SELECT %s,
 (SELECT pg_catalog.count(*) FROM pg_catalog.gp_segment_configuration WHERE content OPERATOR(pg_catalog.>=) 0 AND role OPERATOR(pg_catalog.=) 'p'),
 pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'),
 %s`

// What the role needs for each protocol.
const (
	mayS3 = `EXISTS (SELECT FROM pg_catalog.pg_extprotocol WHERE ptcname OPERATOR(pg_catalog.=) 's3' AND (pg_catalog.pg_has_role(ptcowner, 'USAGE') OR ptctrusted AND EXISTS (
  SELECT FROM pg_catalog.aclexplode(ptcacl) x WHERE x.privilege_type OPERATOR(pg_catalog.=) 'SELECT' AND (x.grantee OPERATOR(pg_catalog.=) 0 OR pg_catalog.pg_has_role(x.grantee, 'USAGE')))))`
	mayPull = `EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user AND (rolsuper OR rolcreaterextgpfd))`
)

// PrepareSQL implements engine.Preparer.
func (greenplum) PrepareSQL(t engine.Target, encoding string) string {
	may := mayS3
	if t.Pull {
		may = mayPull
	}
	return fmt.Sprintf(prepareSQL, external.FactsSQL(t, encoding), may)
}

// Prepare implements engine.Preparer.
func (greenplum) Prepare(t engine.Target, row [][]byte) (engine.Target, error) {
	t, own, why := external.ReadFacts(t, row, 3)
	if why != "" {
		return t, fmt.Errorf("engine greenplum: %w: %s", engine.ErrUnsupported, why)
	}
	segments, err := strconv.Atoi(string(own[0]))
	switch {
	case err != nil || segments < 1:
		return t, fmt.Errorf("engine greenplum: %w: catalogs that are not Greenplum's", engine.ErrUnsupported)
	case !external.Yes(own[1]):
		return t, fmt.Errorf("engine greenplum: %w: no privilege for temporary tables", engine.ErrUnsupported)
	case !external.Yes(own[2]):
		return t, fmt.Errorf("engine greenplum: %w: no protocol s3 or gpfdist, or no privilege for it", engine.ErrUnsupported)
	}
	t.Readers = segments
	return t, nil
}
