package check

import (
	"context"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// Installed returns the checks of what `pgbulkproxy install` has made, for engines
// that need it.
func Installed() []Check {
	return []Check{
		{Name: NameInstallation, Needs: []string{NameService}, Run: installation,
			Remedy: "Run pgbulkproxy install --dsn … --service-role … as a superuser, in every database."},
		{Name: NameServiceRole, Needs: []string{NameInstallation}, Run: serviceRole,
			Remedy: "Run pgbulkproxy install again, with --service-role naming the role of service_dsn."},
		{Name: NameLedger, Needs: []string{NameInstallation}, Run: ledger,
			Remedy: "Run pgbulkproxy install of this version again: it upgrades the ledger in place."},
		{Name: NameFileFDW, Needs: []string{NameInstallation}, Run: fileFDW,
			Remedy: "Run pgbulkproxy install again as a superuser."},
		{Name: NameClientRole, Needs: []string{NameInstallation}, Run: clientRole,
			Remedy: "Give the role of the clients what it lacks, or all of them: GRANT USAGE ON SCHEMA pgbulk TO PUBLIC."},
	}
}

// RejectsOnly returns the check of an installation that nothing needs, for engines
// which have no other.
func RejectsOnly() Check {
	return Check{Name: NameRejects, Needs: []string{NameService}, Run: rejects,
		Remedy: "Run pgbulkproxy install again as a superuser, with --service-role naming the role of service_dsn."}
}

func rejects(ctx context.Context, e *Env) Result {
	if !e.Facts.Installed {
		return Skipped("rows that loads skip are only counted in database %s: pgbulkproxy install makes the table for them", e.Session.Database)
	}
	if r := installation(ctx, e); r.Status != OK {
		return r
	}
	switch has, err := e.True(ctx, "SELECT pg_catalog.has_table_privilege('pgbulk.secret', 'SELECT')"); {
	case err != nil:
		return Bad("%v", err)
	case !has:
		return Bad("role %s lacks SELECT on pgbulk.secret", e.Session.Role)
	}
	return Good("rows that loads skip are written down in database %s", e.Session.Database)
}

func installation(ctx context.Context, e *Env) Result {
	if !e.Facts.Installed {
		r := Bad("schema pgbulk is not installed in database %s", e.Session.Database)
		if !e.Facts.FileFDW {
			return r.With("Install PostgreSQL's contrib package on the database host (extension file_fdw), then run pgbulkproxy install; or set engine=plain, which needs neither.")
		}
		return r
	}
	text, err := e.Text(ctx, "SELECT pgbulk.version()")
	if State(err) == "42501" {
		return Bad("role %s has no USAGE on schema pgbulk", e.Session.Role).With("GRANT USAGE ON SCHEMA pgbulk TO PUBLIC, or run pgbulkproxy install again.")
	}
	version, convErr := strconv.Atoi(text)
	switch {
	case err != nil:
		return Bad("%v", err)
	case convErr != nil:
		return Bad("pgbulk.version() returns no number")
	case version < e.InstallVersion:
		return Bad("version %d is installed in database %s, this program brings %d", version, e.Session.Database, e.InstallVersion).
			With("Run pgbulkproxy install of this version again: it upgrades in place.")
	case version > e.InstallVersion:
		return Bad("version %d is installed in database %s, this program knows %d", version, e.Session.Database, e.InstallVersion).
			With("Use the newer pgbulkproxy.")
	}
	return Good("version %d in database %s", version, e.Session.Database)
}

func serviceRole(ctx context.Context, e *Env) Result {
	for _, right := range []struct{ what, sql string }{
		{"SELECT on pgbulk.secret", "has_table_privilege('pgbulk.secret', 'SELECT')"},
		{"INSERT on pgbulk.load", "has_table_privilege('pgbulk.load', 'INSERT')"},
		{"UPDATE on pgbulk.load", "has_table_privilege('pgbulk.load', 'UPDATE')"},
		{"EXECUTE on pgbulk.import_staged", "has_function_privilege('pgbulk.import_staged(text, text, int)', 'EXECUTE')"},
	} {
		has, err := e.True(ctx, "SELECT pg_catalog."+right.sql)
		if err != nil {
			return Bad("%s: %v", right.what, err)
		}
		if !has {
			return Bad("role %s lacks %s", e.Session.Role, right.what)
		}
	}
	super, err := e.True(ctx, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
	switch {
	case err != nil:
		return Bad("%v", err)
	case super:
		return Good("role %s is a superuser: one with fewer rights would do (install --service-role)", e.Session.Role)
	}
	return Good("role %s may read the secret, write the ledger and import staged loads", e.Session.Role)
}

func ledger(ctx context.Context, e *Env) Result {
	if err := e.CheckLedger(ctx); err != nil {
		return Bad("%v", err)
	}
	return Good("the ledger has the format of this program")
}

// fileFDW looks whether the functions of the installation still can do what they
// are for: they run with the rights of their owner.
func fileFDW(ctx context.Context, e *Env) Result {
	if e.Facts.Extensions["file_fdw"] == "" {
		return Bad("extension file_fdw is not there any more")
	}
	rows, err := e.DB.Query(ctx, `SELECT r.rolname, r.rolsuper OR pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'USAGE'),
 EXISTS (SELECT 1 FROM pg_catalog.pg_foreign_server WHERE srvname = 'pgbulk_files')
 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
 WHERE n.nspname = 'pgbulk' AND p.proname = 'open_file'`)
	switch {
	case err != nil:
		return Bad("%v", err)
	case len(rows) != 1:
		return Bad("function pgbulk.open_file is not there")
	case rows[0][2] != "t":
		return Bad("foreign server pgbulk_files is not there")
	case rows[0][1] != "t":
		return Bad("the functions belong to role %s, which may not run programs on the server", rows[0][0]).
			With("GRANT pg_execute_server_program TO it, make it a superuser again, or run pgbulkproxy install as another superuser.")
	}
	return Good("file_fdw %s; the functions belong to role %s, which may run programs", e.Facts.Extensions["file_fdw"], rows[0][0])
}

func clientRole(ctx context.Context, e *Env) Result {
	if e.Role == "" {
		return Skipped("name a role of your clients with --role to have its rights looked at")
	}
	role := pgident.Literal(e.Role)
	for _, right := range []struct{ what, sql string }{
		{"USAGE on schema pgbulk", "has_schema_privilege(" + role + ", 'pgbulk', 'USAGE')"},
		{"EXECUTE on pgbulk.open_file", "has_function_privilege(" + role + ", 'pgbulk.open_file(text, text, text)', 'EXECUTE')"},
		{"EXECUTE on pgbulk.close_file", "has_function_privilege(" + role + ", 'pgbulk.close_file(text, text, text)', 'EXECUTE')"},
		{"EXECUTE on pgbulk.record_import", "has_function_privilege(" + role + ", 'pgbulk.record_import(text, text, text)', 'EXECUTE')"},
	} {
		has, err := e.True(ctx, "SELECT pg_catalog."+right.sql)
		if err != nil {
			return Bad("%v", err).With("Name a role that exists with --role.")
		}
		if !has {
			return Bad("role %s lacks %s: its loads go by COPY, without a ledger", e.Role, right.what)
		}
	}
	temp, err := e.True(ctx, "SELECT pg_catalog.has_database_privilege("+role+", pg_catalog.current_database(), 'TEMPORARY')")
	switch {
	case err != nil:
		return Bad("%v", err)
	case !temp:
		return Doubtful("role %s may not make temporary tables: COPY with ON_CONFLICT and routed tables need them", e.Role).
			With("GRANT TEMPORARY ON DATABASE … TO the role.")
	}
	return Good("role %s may load", e.Role)
}
