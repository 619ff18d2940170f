package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path of this module; imports below it are written without it.
const module = "github.com/pgbulkproxy/pgbulkproxy/"

// root is the module's folder, seen from this one.
const root = "../.."

// source is one Go file.
type source struct {
	name string // slash-separated, from the module's root
	pkg  string // its folder
	test bool
	file *ast.File
	size int // lines
}

// sources are all Go files of the module, parsed once.
var sources = sync.OnceValues(func() ([]source, error) {
	names, err := goFiles()
	if err != nil {
		return nil, err
	}
	var all []source
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		all = append(all, source{
			name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), file: f, size: bytes.Count(text, []byte("\n")),
		})
	}
	return all, nil
})

var fset = token.NewFileSet()

// goFiles lists the files that belong to the project: git knows, else all do.
func goFiles() ([]string, error) {
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "*.go")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		var names []string
		for _, name := range strings.Fields(string(out)) {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err == nil {
				names = append(names, name)
			}
		}
		return names, nil
	}
	var names []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") {
			return err
		}
		rel, err := filepath.Rel(root, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

func mustSources(t *testing.T) []source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d files are found", len(all))
	}
	return all
}

// imports returns the import paths of a file.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

func (s source) at(n ast.Node) string {
	return s.name + ":" + strconv.Itoa(fset.Position(n.Pos()).Line)
}

// matches says whether name is one of the patterns: itself, or "folder/..." for
// the folder and all below it.
func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		if dir, ok := strings.CutSuffix(p, "/..."); ok && (name == dir || strings.HasPrefix(name, dir+"/")) || p == name {
			return true
		}
	}
	return false
}
