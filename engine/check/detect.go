package check

import "fmt"

// Each of these says why a server is one for the engine of that name, or "" where it
// is not. The registry asks them from the most particular to the most general.

// DetectPostgres takes what is none of the others.
func DetectPostgres(f Facts) string {
	switch name, _ := f.Product(); {
	case name != "":
		return ""
	case f.Installed:
		return "schema pgbulk is installed"
	}
	return "PostgreSQL " + f.Postgres() + " with file_fdw; until pgbulkproxy install was run, rows go by COPY on the session"
}

// DetectPlain takes servers that could never read S3 by file_fdw, and those that no
// engine is for: everywhere rows can go by COPY on the session.
func DetectPlain(f Facts) string {
	name, version := f.Product()
	switch {
	case name != "":
		return fmt.Sprintf("no engine for %s %s", name, version)
	case !f.FileFDW && !f.Installed:
		return "PostgreSQL " + f.Postgres() + " without extension file_fdw"
	}
	return ""
}

// DetectCitus takes databases with the extension citus.
func DetectCitus(f Facts) string {
	version := f.Extensions["citus"]
	if name, _ := f.Product(); version == "" || name != "" {
		return ""
	}
	return "extension citus " + version
}

// DetectGreenplum takes Greenplum and what was made from it.
func DetectGreenplum(f Facts) string {
	switch name, version := f.Product(); name {
	case "greenplum", "greengage", "warehousepg", "cloudberry":
		return fmt.Sprintf("version() says %s %s", name, version)
	}
	return ""
}

// DetectRelyt takes what calls itself Relyt.
func DetectRelyt(f Facts) string {
	if name, version := f.Product(); name == "relyt" {
		return "version() says relyt " + version
	}
	return ""
}
