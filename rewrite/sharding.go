package rewrite

import (
	"encoding/json"
	"fmt"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// Sharding is what Citus says about a table whose rows lie on its workers, or on
// all nodes.
type Sharding struct {
	// Method is pg_dist_partition.partmethod: h hash, n not distributed by a
	// column: a reference table, one of a distributed schema, a managed local one;
	// a and r are kinds of old versions.
	Method string `json:"method"`
	// Mode is citus.multi_shard_modify_mode: parallel or sequential.
	Mode string `json:"mode"`
	// Exact: a constant of an INSERT arrives on a worker as the coordinator has
	// read it. Citus sends it as text, in the styles of this session, and a worker
	// reads it in its own; COPY sends most types in binary. Names of objects have
	// other numbers there.
	Exact bool `json:"exact"`
}

// SpreadSQL has one row where the session's database has the extension citus, else
// none. ShardingSQL and ShardedLockSQL are for those that have.
const SpreadSQL = "SELECT WHERE pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"

// ShardingSQL is asked together with an InspectSQL: it returns one row with one
// column for AddSharding where the table is one of Citus', else none.
func ShardingSQL(schema, table string) string {
	return "SELECT pg_catalog.json_build_object('method', p.partmethod, 'mode', pg_catalog.current_setting('citus.multi_shard_modify_mode')," +
		" 'exact', pg_catalog.starts_with(pg_catalog.current_setting('DateStyle'), 'ISO')" +
		" AND pg_catalog.current_setting('IntervalStyle') OPERATOR(pg_catalog.=) 'postgres'" +
		" AND pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 OPERATOR(pg_catalog.>) 0" +
		" AND (SELECT true FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) p.logicalrelid::pg_catalog.oid" +
		" AND a.atttypid OPERATOR(pg_catalog.=) ANY ('{" + objectTypes + "}'::pg_catalog.oid[]) LIMIT 1) IS NULL)" +
		" FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) " + Current.resolve(schema, table)
}

// objectTypes are regproc, regprocedure, regoper, regoperator, regclass, regtype,
// regconfig, regdictionary, regnamespace, regrole and regcollation, and arrays of them.
const objectTypes = "24,2202,2203,2204,2205,2206,3734,3769,4089,4096,4191,1008,2207,2208,2209,2210,2211,3735,3770,4090,4097,4192"

// ShardedLockSQL takes the lock that COPY and INSERT take first of all, on the
// coordinator: LOCK TABLE would take it on every node, in a round trip to each,
// which neither of them does. Its row has no columns.
func ShardedLockSQL(schema, table string) string {
	return "SELECT FROM pg_catalog.lock_relation_if_exists(" + pgident.Literal(pgident.Qualified(schema, table)) + ", 'ROW EXCLUSIVE')"
}

// AddSharding takes the row of ShardingSQL, or "" where there is none.
func (in *Inspection) AddSharding(row string) error {
	if row == "" {
		return nil
	}
	in.Sharding = &Sharding{}
	if err := json.Unmarshal([]byte(row), in.Sharding); err != nil {
		return fmt.Errorf("decode sharding: %w", err)
	}
	return nil
}

// sequential puts a COPY that stands for an INSERT on one connection to each
// worker, as an INSERT runs. On one for each shard it would be a parallel
// operation, after which Citus refuses some statements until the transaction
// ends; and it opens the connections. The mode is set back to what it was: Citus
// itself sets it, too, but not by a statement into a table distributed by hash.
func (in *Inspection) sequential(copy string) string {
	if in.Sharding == nil || in.Sharding.Method != "h" || in.Sharding.Mode != "parallel" {
		return copy
	}
	return setModifyMode + "'sequential'; " + copy + "; " + setModifyMode + "'parallel'"
}

const setModifyMode = "SET LOCAL citus.multi_shard_modify_mode TO "

// shardingReason finds what an INSERT in another form would do otherwise. arrays
// says that it would be an INSERT … SELECT: of those Citus counts the rows that
// were selected, whatever ON CONFLICT did, and RETURNING comes in any order.
func (in *Inspection) shardingReason(arrays bool) Reason {
	switch {
	case in.Sharding == nil:
		return ReasonNone
	case arrays:
		return ReasonShardedClause
	case in.Sharding.Method != "h" && in.Sharding.Method != "n":
		return ReasonShardedMethod
	case !in.Sharding.Exact:
		return ReasonShardedText
	}
	return ReasonNone
}

// miscounts says that the tag of an INSERT … SELECT with that clause is not the
// number of rows it inserted: Citus gives that of the rows selected.
func (in *Inspection) miscounts(c Conflict) bool { return in.Sharding != nil && c == ConflictNothing }

// counting makes a SELECT of the number of its rows out of an INSERT. The rows are
// counted on the server: a list of them would be kept here.
func counting(insert string) string {
	return "WITH pgbulkproxy_done AS (" + insert + " RETURNING 1) SELECT pg_catalog.count(*) FROM pgbulkproxy_done"
}
