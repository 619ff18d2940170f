package archtest

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// edges are the packages that each package may import in its own code. Imports
// run the way the bytes run: from the command over the wire into the load, and
// down to what knows nothing of sessions. Tests are free.
var edges = map[string][]string{
	"cmd/pgbulkproxy": {"internal/admin", "internal/config", "internal/doctor", "internal/install", "internal/pgerr", "internal/pgident", "internal/pgserver", "internal/proxy", "engine", "engine/check", "engine/postgres", "engine/registry", "engine/sealed", "rewrite", "rewrite/values", "checkpoint", "routing"},

	// The one place where everything is put together.
	"internal/proxy": {"wire", "wire/handshake", "bulk", "gpfdist", "rewrite", "engine", "engine/check", "engine/registry", "engine/sealed", "store", "store/embedded", "checkpoint", "routing", "internal/config", "internal/install", "internal/loaderconfig", "internal/pgerr", "internal/s3conf"},

	"wire":           {"wire/evloop", "wire/frame", "wire/handshake", "bulk", "bulk/transcode", "rewrite", "rewrite/values", "internal/pgerr"},
	"wire/handshake": {"wire/evloop", "wire/frame", "internal/pgerr"},
	"wire/evloop":    {},
	"wire/frame":     {},

	"bulk":           {"bulk/rows", "bulk/transcode", "gpfdist", "rewrite", "engine", "engine/sealed", "store", "checkpoint", "internal/pgerr", "internal/pgident"},
	"bulk/rows":      {},
	"bulk/transcode": {"internal/pgdate"},

	"rewrite/values":  {"internal/pgdate", "internal/pgident"},
	"rewrite":         {"rewrite/pgquery", "rewrite/values", "internal/pgerr", "internal/pgident"},
	"rewrite/pgquery": {},

	"engine":     {"rewrite"},
	"checkpoint": {"internal/pgident"},
	"routing":    {"rewrite", "internal/pgerr", "internal/pgident"},

	"engine/check":    {"internal/pgident"},
	"engine/registry": {"engine", "engine/check", "engine/sealed", anyEngine},
	"engine/sealed":   {"engine", "engine/check", "rewrite", "internal/pgident"},
	"engine/external": {"engine", "rewrite", "internal/pgident"},
	// Engines know nothing of each other; what those with a ledger share is sealed's,
	// and what those whose segments read S3 share is external's.
	anyEngine: {"engine", "engine/check", "engine/external", "engine/sealed", "rewrite", "internal/pgident"},

	"gpfdist":        {},
	"store":          {},
	"store/embedded": {"store"},

	"internal/admin":        {"internal/httpserve"},
	"internal/config":       {"engine/registry"},
	"internal/doctor":       {"engine", "engine/check", "engine/registry", "engine/sealed", "store", "store/embedded", "checkpoint", "internal/config", "internal/loaderconfig"},
	"internal/httpserve":    {},
	"internal/install":      {"engine", "engine/sealed", "checkpoint", "routing", "internal/loaderconfig"},
	"internal/loaderconfig": {"store", "internal/pgident"},
	"internal/pgerr":        {},
	"internal/s3conf":       {"internal/httpserve", "store"},
	"internal/pgdate":       {},
	"internal/pgident":      {},
	"internal/pgserver":     {},

	// Only tests import these.
	"checkpoint/checkpointtest": {"checkpoint"},
	"engine/enginetest":         {"engine", "rewrite", "store", "internal/pgident"},
	"engine/enginetest/example": {"engine", "engine/sealed", "rewrite", "internal/pgident"},
	"store/storetest":           {"store"},
	"internal/archtest":         {},
	"internal/killmatrix":       {},
	"internal/proxy/clienttest": {},
	"internal/proxy/difftest":   {"store", "internal/config", "internal/proxy", "internal/proxy/proxytest", "internal/testenv"},
	"internal/proxy/proxytest":  {"engine/postgres", "store", "internal/config", "internal/install", "internal/pgtest", "internal/testenv"},
	"internal/pgtest":           {"internal/pgtest/clients"},
	"internal/pgtest/clients":   {},
	"internal/testenv":          {"internal/pgident", "internal/pgserver", "store", "store/embedded"},
	"bench":                     {"internal/pgserver", "store/embedded"},
	"docs":                      {},
}

// anyEngine is every folder of engine that has no row of its own.
const anyEngine = "engine/*"

// row returns the name by which the table knows a package.
func row(pkg string) string {
	if _, own := edges[pkg]; !own && path.Dir(pkg) == "engine" {
		return anyEngine
	}
	return pkg
}

// allows says that a list names a package, or all engines.
func allows(list []string, pkg string) bool {
	return slices.Contains(list, pkg) || slices.Contains(list, row(pkg))
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, s := range mustSources(t) {
		allowed, known := edges[row(s.pkg)]
		if !known {
			t.Errorf("%s: package %s is not in the table", s.name, s.pkg)
			continue
		}
		for _, p := range s.imports() {
			p, ours := strings.CutPrefix(p, module)
			if ours && !s.test && !allows(allowed, p) {
				t.Errorf("%s imports %s, which %s may not", s.name, p, s.pkg)
			}
		}
	}
}

// TestEdgesExist: a row without a package would hold nothing.
func TestEdgesExist(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, s := range mustSources(t) {
		found[s.pkg], found[row(s.pkg)] = true, true
	}
	for pkg, allowed := range edges {
		for _, p := range append(slices.Clone(allowed), pkg) {
			if !found[p] {
				t.Errorf("the table speaks of %s, which is not there", p)
			}
		}
	}
}

// TestEdgesHaveNoCycle: the table itself runs one way.
func TestEdgesHaveNoCycle(t *testing.T) {
	t.Parallel()
	var visit func(pkg string, path []string)
	visit = func(pkg string, path []string) {
		if slices.Contains(path, pkg) {
			t.Errorf("cycle: %v", append(path, pkg))
			return
		}
		for _, next := range edges[pkg] {
			visit(next, append(slices.Clone(path), pkg))
		}
	}
	for pkg := range edges {
		visit(pkg, nil)
	}
}

// wall says who may import a third-party module in code that is not a test.
type wall struct {
	module string
	files  []string // files, or folders with /...
	why    string
}

var walls = []wall{
	{"github.com/pganalyze/pg_query_go/v5", []string{"rewrite/pgquery/..."}, "cgo behind one package"},
	{"google.golang.org/protobuf", []string{"rewrite/pgquery/..."}, "what its tree is made of"},
	{"github.com/aws/aws-sdk-go-v2", []string{"store/..."}, "S3 behind one interface"},
	{"github.com/aws/smithy-go", []string{"store/..."}, "part of the S3 client"},
	{"github.com/versity/versitygw", []string{"store/embedded/..."}, "the S3 server of the demo"},
	{"github.com/jackc/pgx/v5/pgproto3", []string{"wire/...", "internal/pgtest/..."}, "the relay decodes nothing"},
	{
		"github.com/jackc/pgx/v5",
		[]string{"checkpoint/...", "routing/...", "internal/...", "cmd/...", "bench/...", "engine/enginetest/..."},
		"the service connection; a client's session is never a pgx connection",
	},
	{
		"github.com/prometheus/client_golang",
		[]string{
			"bulk/metrics.go", "gpfdist/metrics.go", "store/metrics.go", "wire/metrics.go", "internal/admin/...", "internal/proxy/...", "cmd/...",
			"bulk/loader.go", "bulk/importer.go", "gpfdist/server.go", "wire/server.go", "store/new.go", "store/open.go", // a Registerer on its way to metrics.go
		},
		"metrics in one file a package",
	},
	{"github.com/alecthomas/kong", []string{"cmd/...", "bench/..."}, "command lines"},
	{"github.com/vbauerster/mpb/v8", []string{"cmd/..."}, "progress bars"},
	{"github.com/knadh/koanf", []string{"internal/config/..."}, "configuration files"},
	{"github.com/fergusstrange/embedded-postgres", []string{"internal/pgserver/..."}, "server binaries where there are none"},
	{"github.com/lib/pq", []string{"internal/pgtest/clients/..."}, "a client to compare with"},
	{"gorm.io", []string{"internal/pgtest/clients/..."}, "a client to compare with"},
	{"github.com/google/uuid", []string{"bulk/...", "checkpoint/checkpointtest/...", "engine/enginetest/..."}, "process ids"},
	{"go.uber.org/goleak", []string{"internal/testenv/..."}, "tests"},
	{"golang.org/x/sync", []string{"bench/...", "bulk/...", "store/...", "checkpoint/checkpointtest/...", "engine/enginetest/..."}, "semaphores, groups of goroutines"},
	{"golang.org/x/sys", []string{"store/embedded/...", "internal/pgserver/..."}, "files without a name"},
}

func TestWalls(t *testing.T) {
	t.Parallel()
	for _, s := range mustSources(t) {
		if s.test {
			continue
		}
		for _, p := range s.imports() {
			first, _, _ := strings.Cut(p, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(p, module) {
				continue
			}
			w := wallOf(p)
			if w == nil {
				t.Errorf("%s imports %s: no wall says who may", s.name, p)
			} else if !matches(s.name, w.files) {
				t.Errorf("%s imports %s (%s)", s.name, p, w.why)
			}
		}
	}
}

// wallOf returns the wall of the longest module path that fits, or nil.
func wallOf(p string) *wall {
	var best *wall
	for i, w := range walls {
		if (p == w.module || strings.HasPrefix(p, w.module+"/")) && (best == nil || len(w.module) > len(best.module)) {
			best = &walls[i]
		}
	}
	return best
}
