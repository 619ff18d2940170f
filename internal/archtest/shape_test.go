package archtest

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// The bounds keep a file on a few screens and a function on one.
const (
	maxFile     = 500
	maxFunction = 60
)

// longFunctions may be longer, each for its reason.
var longFunctions = map[string]string{
	"internal/config.TestLoadRefuses": "a table of mistakes",
	"internal/proxy.TestGarbage":      "a table of broken messages",
	"wire/handshake.TestBadUpstream":  "a table of servers",
	"wire/handshake.testCancel":       "one story",
}

func TestLengths(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, s := range mustSources(t) {
		if s.size >= maxFile {
			t.Errorf("%s has %d lines", s.name, s.size)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := s.pkg + "." + f.Name.Name
			n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
			if n <= maxFunction {
				continue
			}
			if used[name] = true; longFunctions[name] == "" {
				t.Errorf("%s: %s has %d lines", s.at(f), f.Name.Name, n)
			}
		}
	}
	for name := range longFunctions {
		if !used[name] {
			t.Errorf("%s is short by now: take it off the list", name)
		}
	}
}

// TestPackageComments: every package says what it is, in one place.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	comments, tests := map[string]int{}, map[string]bool{}
	for _, s := range mustSources(t) {
		if s.test {
			tests[s.pkg] = true
			continue
		}
		if s.file.Doc != nil {
			comments[s.pkg]++
			text := s.file.Doc.Text()
			if want := "Package " + s.file.Name.Name + " "; s.file.Name.Name != "main" && !strings.HasPrefix(text, want) {
				t.Errorf("%s: the comment does not begin with %q", s.name, want)
			}
		} else if comments[s.pkg] == 0 {
			comments[s.pkg] = 0
		}
	}
	for pkg, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments", pkg, n)
		}
	}
}

// TestDocumented: every exported name has a comment, of its own or its group's.
func TestDocumented(t *testing.T) {
	t.Parallel()
	for _, s := range mustSources(t) {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
					t.Errorf("%s: %s has no comment", s.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				documented(t, s, d)
			}
		}
	}
}

// exportedReceiver says whether a function, or its type, can be seen outside.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return true
	}
	typ := f.Recv.List[0].Type
	if p, ok := typ.(*ast.StarExpr); ok {
		typ = p.X
	}
	name, ok := typ.(*ast.Ident)
	return !ok || name.IsExported()
}

func documented(t *testing.T, s source, d *ast.GenDecl) {
	t.Helper()
	if d.Tok == token.IMPORT {
		return
	}
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
				t.Errorf("%s: %s has no comment", s.at(spec), spec.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					t.Errorf("%s: %s has no comment", s.at(spec), name.Name)
				}
			}
		}
	}
}

// TestHabits: what reads well at first and is regretted later.
func TestHabits(t *testing.T) {
	t.Parallel()
	for _, s := range mustSources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init runs for everybody who imports the package", s.at(f))
			}
		}
		for _, group := range s.file.Comments {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "X" + "XX:"} {
				if strings.Contains(group.Text(), word) {
					t.Errorf("%s: a comment says %s", s.at(group), word)
				}
			}
		}
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && isName(sel.X, "os") && sel.Sel.Name == "Exit" && s.name != "cmd/pgbulkproxy/main.go" && s.pkg != "bench" && s.pkg != "internal/testenv" {
				t.Errorf("%s: os.Exit skips whatever is deferred", s.at(call))
			}
			return true
		})
	}
}

func isName(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
