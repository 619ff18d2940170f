package config

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

func TestTableIsSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	targets := map[any]string{}
	var c Config
	for _, k := range Keys() {
		if seen[k.Name] {
			t.Errorf("%s is there twice", k.Name)
		}
		seen[k.Name] = true
		field := k.field(&c)
		if other, ok := targets[field]; ok {
			t.Errorf("%s and %s set the same field", k.Name, other)
		}
		targets[field] = k.Name
		want := map[Kind]any{
			String: new(string), Choice: new(string), Bool: new(bool),
			Int: new(int), Size: new(int64), Duration: new(time.Duration),
		}[k.Kind]
		if reflect.TypeOf(field) != reflect.TypeOf(want) {
			t.Errorf("%s: kind %s and field %T", k.Name, k.Kind, field)
		}
		if err := k.set(&c, k.Default); err != nil {
			t.Errorf("%s: default: %v", k.Name, err)
		}
		if got := k.get(&c); got != k.Default {
			t.Errorf("%s: default %q is shown as %q", k.Name, k.Default, got)
		}
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: no sentence as documentation", k.Name)
		}
	}
	if n := leaves(reflect.TypeOf(c)); n != len(seen) {
		t.Errorf("Config has %d fields, the table %d keys", n, len(seen))
	}
}

func leaves(typ reflect.Type) int {
	n := 0
	for i := range typ.NumField() {
		if f := typ.Field(i); f.Type.Kind() == reflect.Struct {
			n += leaves(f.Type)
		} else {
			n++
		}
	}
	return n
}

// TestBoundsHold sets each numeric key to its bounds and one beyond.
func TestBoundsHold(t *testing.T) {
	t.Parallel()
	for _, k := range Keys() {
		spell := func(v int64) string {
			switch k.Kind {
			case Duration:
				return time.Duration(v).String()
			case Size:
				return formatSize(v)
			}
			return strconv.FormatInt(v, 10)
		}
		if k.Kind != Duration && k.Kind != Size && k.Kind != Int {
			continue
		}
		var c Config
		for _, v := range []int64{k.Min, k.Max} {
			if err := k.set(&c, spell(v)); err != nil {
				t.Errorf("%s: bound %s: %v", k.Name, spell(v), err)
			}
		}
		if err := k.set(&c, spell(k.Min-1)); err == nil {
			t.Errorf("%s: %s is accepted", k.Name, spell(k.Min-1))
		}
		if k.Max != math.MaxInt64 {
			if err := k.set(&c, spell(k.Max+1)); err == nil {
				t.Errorf("%s: %s is accepted", k.Name, spell(k.Max+1))
			}
		}
	}
}

// TestFieldsAreDocumented reads config.go: each field of each struct is in the
// comment of its line or of the group it is declared with.
func TestFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			typ, _ := field.Type.(*ast.Ident)
			group := typ != nil && ast.IsExported(typ.Name)
			if field.Doc == nil && !group {
				t.Errorf("%s.%s has no comment", spec.Name, field.Names[0])
			}
		}
		return true
	})
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	good := map[string]int64{
		"0": 0, "1048576": 1 << 20, "64MiB": 64 << 20, "64mib": 64 << 20, "64 MiB": 64 << 20,
		"64MB": 64e6, "1kB": 1000, "1KB": 1000, "5GiB": 5 << 30, "2TB": 2e12, "7B": 7, "-1": -1,
	}
	for text, want := range good {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "64M", "1e6", "x", "9999999TiB", "99999999999999999999", "1 2"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	good := map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute,
	}
	for text, want := range good {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "d", "1d-1h", "1dd", "999999999d", "106751d9999h", "1w", "99999999999999999999d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %s", text, got)
		}
	}
}

// TestSpellingsRoundTrip: what is shown can be read again.
func TestSpellingsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Min(0).Draw(t, "size")
		if got, err := parseSize(formatSize(size)); err != nil || got != size {
			t.Fatalf("size %d: %s: %d, %v", size, formatSize(size), got, err)
		}
		d := time.Duration(rapid.Int64Min(0).Draw(t, "duration"))
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("duration %d: %s: %d, %v", d, formatDuration(d), got, err)
		}
	})
}

func TestDocumentationIsUpToDate(t *testing.T) {
	t.Parallel()
	const path = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(path, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Errorf("%s is not what the table says; run: go test ./internal/config -update", path)
	}
	for _, k := range Keys() {
		if !slices.Contains(strings.Fields(Help()), k.Name) {
			t.Errorf("help does not name %s", k.Name)
		}
	}
}
