// Package docs holds the documentation, and a test that keeps its names true.
package docs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

var (
	testName   = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")
	scriptCase = regexp.MustCompile("`([a-z_]+\\.txt): ([^`]+)`")
	scriptFile = regexp.MustCompile("`([a-z_]+\\.txt)`")
	link       = regexp.MustCompile(`\]\(([^):#]+)\)`)
	setting    = regexp.MustCompile("`((?:stage|store_limit|load|sweep|breaker|statement|insert|routing|tls|upstream_tls|log)\\.[a-z_]+)")
	metric     = regexp.MustCompile(`pgbulk_(?:[a-z]+_)+(?:total|seconds)`)
)

// TestNames: every test, script case, file, setting and metric that the
// documentation names exists.
func TestNames(t *testing.T) {
	t.Parallel()
	source := sources(t)
	keys := map[string]bool{}
	for _, k := range config.Keys() {
		keys[k.Name] = true
	}
	for path, text := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(source, "\nfunc "+m[1]+"(") {
				t.Errorf("%s names %s, which is no test", path, m[1])
			}
		}
		for _, m := range scriptCase.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(scripts(t, m[1]), "\ncase "+m[2]+"\n") {
				t.Errorf("%s names case %q, which %s does not have", path, m[2], m[1])
			}
		}
		for _, m := range scriptFile.FindAllStringSubmatch(text, -1) {
			if scripts(t, m[1]) == "" {
				t.Errorf("%s names %s, which is no script", path, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		for _, m := range setting.FindAllStringSubmatch(text, -1) {
			if !keys[m[1]] && !strings.HasSuffix(m[1], ".go") {
				t.Errorf("%s names setting %s", path, m[1])
			}
		}
		for _, m := range metric.FindAllString(text, -1) {
			if !strings.Contains(source, m) {
				t.Errorf("%s names metric %s", path, m)
			}
		}
	}
}

// scripts returns the wire scripts of that name: of COPY, of INSERT, or of both.
func scripts(t *testing.T, name string) (text string) {
	t.Helper()
	for _, dir := range []string{"copy", "insert"} {
		script, err := os.ReadFile("../testdata/wire/" + dir + "/" + name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		text += string(script)
	}
	return text
}

// documents returns the texts of all documents by their paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "../*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			texts[p] = string(text)
		}
	}
	return texts
}

// sources returns all Go code of the module as one text.
func sources(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		b.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
