package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// EnvPrefix is what the names of environment variables begin with.
const EnvPrefix = "PGBULK_"

// Sources are the layers above the defaults, the lowest first. The zero value
// of each is an absent layer.
type Sources struct {
	// File is the path of a YAML file, with nested or dotted keys.
	File string
	// Environ is os.Environ(). PGBULK_STAGE_MIN_BYTES sets stage.min_bytes; an
	// empty variable counts as unset.
	Environ []string
	// Flags are the keys that have a flag on the command line.
	Flags map[string]string
	// Set are the key=value texts of --set, in their order.
	Set []string
}

// EnvName returns the environment variable of a key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// Default returns the configuration without any source. It is not valid:
// upstream and store have no default.
func Default() Config {
	var c Config
	for _, k := range Keys() {
		// The table is tested: each default parses and lies in its bounds.
		_ = k.set(&c, k.Default)
	}
	return c
}

// Load reads the layers, refuses what the table of keys doesn't allow, and
// validates the result. Errors are one line, name the layer and the key, and
// never hold a secret.
func Load(src Sources) (Config, error) {
	layers, err := src.layers()
	if err != nil {
		return Config{}, err
	}
	merged := koanf.New(".")
	for _, l := range layers {
		if err := l.check(); err != nil {
			return Config{}, err
		}
		if err := merged.Merge(l.values); err != nil {
			return Config{}, fmt.Errorf("merge %s: %w", l.name, err)
		}
	}
	c := Default()
	values := merged.All()
	for _, k := range Keys() {
		if v, ok := values[k.Name]; ok {
			if err := k.set(&c, text(v)); err != nil {
				return Config{}, fmt.Errorf("%s: %w", k.Name, err)
			}
		}
	}
	return c, c.Validate()
}

// layer is one source's values under dotted keys.
type layer struct {
	name   string
	values *koanf.Koanf
}

// layers returns the sources that are there, the lowest first.
func (s Sources) layers() ([]layer, error) {
	var all []layer
	add := func(name string, p koanf.Provider, parser koanf.Parser) error {
		k := koanf.New(".")
		if err := k.Load(p, parser); err != nil {
			return fmt.Errorf("%s: %w", name, oneLine(err))
		}
		all = append(all, layer{name, k})
		return nil
	}
	if s.File != "" {
		if err := add("config file "+s.File, file.Provider(s.File), yaml.Parser()); err != nil {
			return nil, err
		}
	}
	environ, err := s.environ()
	if err != nil {
		return nil, err
	}
	if err := add("environment", environ, nil); err != nil {
		return nil, err
	}
	flags := map[string]any{}
	for name, v := range s.Flags {
		flags[name] = v
	}
	if err := add("command line", confmap.Provider(flags, "."), nil); err != nil {
		return nil, err
	}
	set := map[string]any{}
	for _, pair := range s.Set {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, errors.New("--set wants key=value")
		}
		set[strings.TrimSpace(name)] = value
	}
	if err := add("--set", confmap.Provider(set, "."), nil); err != nil {
		return nil, err
	}
	return all, nil
}

// environ maps variables to keys through the table, since key names hold
// underscores themselves. A PGBULK_ variable that no key has is an error.
func (s Sources) environ() (koanf.Provider, error) {
	names := map[string]string{}
	for _, k := range Keys() {
		names[EnvName(k.Name)] = k.Name
	}
	for _, pair := range s.Environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, EnvPrefix) && names[name] == "" && !foreignEnv(name) {
			return nil, fmt.Errorf("environment: unknown variable %s", name)
		}
	}
	return env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return s.Environ },
		TransformFunc: func(name, value string) (string, any) {
			if value == "" {
				return "", nil
			}
			return names[name], value
		},
	}), nil
}

// foreignEnv says that a variable has our prefix but isn't a setting: the tests
// have their own, PGBULK_CONFIG names the file, and Kubernetes makes the others
// for a service that is called pgbulk.
func foreignEnv(name string) bool {
	rest := strings.TrimPrefix(name, EnvPrefix)
	if rest == "CONFIG" || rest == "PORT" || rest == "SERVICE_HOST" {
		return true
	}
	for _, p := range []string{"TEST_", "PORT_", "SERVICE_PORT"} {
		if strings.HasPrefix(rest, p) {
			return true
		}
	}
	return false
}

// check refuses keys that are not in the table and values that their key
// doesn't allow.
func (l layer) check() error {
	known := map[string]Key{}
	for _, k := range Keys() {
		known[k.Name] = k
	}
	values := l.values.All()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		k, ok := known[name]
		if !ok {
			return fmt.Errorf("%s: unknown key %q%s", l.name, name, suggest(name))
		}
		switch values[name].(type) {
		case []any, map[string]any:
			return fmt.Errorf("%s: %s: a single value is wanted", l.name, name)
		}
		var scratch Config
		if err := k.set(&scratch, text(values[name])); err != nil {
			return fmt.Errorf("%s: %s: %w", l.name, name, err)
		}
	}
	return nil
}

// text gives a value of the YAML parser back as it would be written.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return fmt.Sprint(v)
}

// suggest names the keys that share the last word, for those who forgot the
// group or mistyped it.
func suggest(name string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	var near []string
	for _, k := range Keys() {
		if strings.HasSuffix(k.Name, "."+last) || k.Name == last || strings.ReplaceAll(k.Name, ".", "_") == name {
			near = append(near, k.Name)
		}
	}
	if len(near) == 0 {
		return ""
	}
	return " (is it " + strings.Join(near, " or ") + "?)"
}

// oneLine keeps the type of a file error and flattens the parser's others,
// which span lines.
func oneLine(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
