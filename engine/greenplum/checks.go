package greenplum

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// The names of the checks.
const (
	nameSegments   = "segments"
	nameAutostats  = "gp_autostats"
	nameProtocol   = "protocol_s3"
	nameGpfdist    = "gpfdist"
	nameReachProxy = "segments_reach_proxy"
	nameReachStore = "segments_reach_store"
)

// Checks returns what loads into Greenplum need, beside a server and a store.
func Checks() []check.Check {
	needs := []string{check.NameService}
	return []check.Check{
		{Name: nameSegments, Needs: needs, Run: checkSegments,
			Remedy: "Look at gp_segment_configuration; gprecoverseg brings a segment back."},
		{Name: nameAutostats, Needs: needs, Run: checkAutostats,
			Remedy: "SET gp_autostats_mode = none for the roles that load, and ANALYZE afterwards."},
		{Name: nameProtocol, Needs: needs, Run: checkProtocol,
			Remedy: "CREATE TRUSTED PROTOCOL s3 with gpcloud's functions, and GRANT SELECT ON PROTOCOL s3 TO the roles that load."},
		{Name: nameGpfdist, Needs: needs, Run: checkGpfdist,
			Remedy: "ALTER ROLE … CREATEEXTTABLE (type='readable', protocol='gpfdist') for the roles that load."},
		{Name: nameReachProxy, Needs: []string{nameSegments, nameGpfdist}, Run: checkReachProxy,
			Remedy: "Open the way from each segment's host to that address, start the proxy, and run doctor again."},
		{Name: nameReachStore, Needs: []string{nameSegments, nameGpfdist, check.NameStore}, Run: checkReachStore,
			Remedy: "Open the way from each segment's host to the store, or use greenplum.reader = copy."},
		check.RejectsOnly(),
	}
}

// checkSegments counts the segments, and has each say what time it is.
func checkSegments(ctx context.Context, e *check.Env) check.Result {
	down, err := e.Text(ctx, "SELECT pg_catalog.count(*) FROM pg_catalog.gp_segment_configuration WHERE content >= 0 AND role = 'p' AND status <> 'u'")
	if err != nil {
		return check.Bad("%v", err)
	}
	if down != "0" {
		return check.Bad("%s segments are down", down)
	}
	// gp_dist_random is a word of the grammar: it takes no schema.
	const clocks = "SELECT pg_catalog.count(*) || ' ' || coalesce(pg_catalog.max(pg_catalog.abs(pg_catalog.date_part('epoch', s.now - pg_catalog.clock_timestamp()))), 0)" +
		" FROM (SELECT pg_catalog.clock_timestamp() AS now FROM gp_dist_random('pg_catalog.gp_id')) s"
	text, err := e.Text(ctx, clocks)
	if err != nil {
		return check.Bad("%v", err)
	}
	count, off, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseFloat(off, 64)
	if err != nil {
		return check.Bad("the segments' clocks: %v", err)
	}
	if apart := time.Duration(seconds * float64(time.Second)); apart > time.Minute {
		return check.Doubtful("the clock of a segment is %v off the coordinator's", apart.Round(time.Second)).
			With("Synchronise the clocks: S3 refuses signatures beyond 15 minutes.")
	}
	return check.Good("%s segments answer, and their clocks agree", count)
}

func checkAutostats(ctx context.Context, e *check.Env) check.Result {
	mode, err := e.Text(ctx, "SELECT pg_catalog.current_setting('gp_autostats_mode')")
	switch {
	case err != nil:
		return check.Bad("%v", err)
	case !strings.EqualFold(mode, "none"):
		return check.Doubtful("gp_autostats_mode is %s: loads into empty or changed tables run ANALYZE in their own time", mode)
	}
	return check.Good("gp_autostats_mode is none")
}

// loader is the role whose rights count.
func loader(e *check.Env) string {
	if e.Role != "" {
		return e.Role
	}
	return e.Session.Role
}

func checkProtocol(ctx context.Context, e *check.Env) check.Result {
	if e.Reader != "s3" {
		return check.Skipped("greenplum.reader is %s", e.Reader)
	}
	role := pgident.Literal(loader(e))
	ok, err := e.True(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_extprotocol p WHERE p.ptcname = 's3' AND (pg_catalog.pg_has_role("+role+", p.ptcowner, 'USAGE')"+
		" OR p.ptctrusted AND EXISTS (SELECT 1 FROM pg_catalog.aclexplode(p.ptcacl) x WHERE x.privilege_type = 'SELECT'"+
		" AND (x.grantee = 0 OR pg_catalog.pg_has_role("+role+", x.grantee, 'USAGE')))))")
	switch {
	case err != nil:
		return check.Bad("%v", err)
	case !ok:
		return check.Bad("there is no protocol s3 that role %s may read", loader(e))
	}
	return check.Good("role %s may read by protocol s3", loader(e))
}

func checkGpfdist(ctx context.Context, e *check.Env) check.Result {
	ok, err := e.True(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = "+pgident.Literal(loader(e))+" AND (rolsuper OR rolcreaterextgpfd))")
	switch {
	case err != nil:
		return check.Bad("%v", err)
	case !ok && e.Reader == "gpfdist":
		return check.Bad("role %s may not make external tables by gpfdist: its loads go by COPY", loader(e))
	case !ok:
		return check.Skipped("role %s may not make external tables by gpfdist", loader(e))
	}
	return check.Good("role %s may make external tables by gpfdist", loader(e))
}

// checkReachProxy has the segments ask the proxy for what it does not have. That it
// says so is the proof: the protocol is plain http.
func checkReachProxy(ctx context.Context, e *check.Env) check.Result {
	if e.Listen == "" {
		return check.Skipped("greenplum.reader is %s: the segments fetch nothing from the proxy", e.Reader)
	}
	return reach(ctx, e, e.Listen)
}

func checkReachStore(ctx context.Context, e *check.Env) check.Result {
	address, plain := strings.CutPrefix(e.StoreEndpoint, "http://")
	if e.Reader != "s3" || !plain {
		return check.Skipped("only tried for greenplum.reader = s3 and a store without TLS")
	}
	return reach(ctx, e, strings.TrimSuffix(address, "/"))
}

func reach(ctx context.Context, e *check.Env, address string) check.Result {
	location := pgident.Literal("gpfdist://" + address + "/pgbulkproxy-doctor")
	_, err := e.Undone(ctx, fmt.Sprintf("CREATE READABLE EXTERNAL TEMP TABLE pgbulkproxy_doctor (a text) LOCATION (%s) FORMAT 'TEXT'; SELECT pg_catalog.count(*) FROM pg_temp.pgbulkproxy_doctor", location))
	if err == nil || strings.Contains(err.Error(), "http response code") {
		return check.Good("the segments reach %s", address)
	}
	if check.State(err) == "42501" {
		return check.Skipped("role %s may not make the external table that would tell", e.Session.Role)
	}
	return check.Bad("the segments do not reach %s: %v", address, err)
}
