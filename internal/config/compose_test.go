package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
)

// composeKeys are the words of the compose specification that our file uses, by
// their place.
var composeKeys = map[string][]string{
	"":        {"services", "volumes"},
	"service": {"image", "build", "command", "entrypoint", "environment", "depends_on", "volumes", "ports", "healthcheck", "stop_grace_period", "pull_policy"},
	"build":   {"context", "dockerfile", "dockerfile_inline"},
	"health":  {"test", "interval", "timeout", "retries", "start_period"},
}

func checkKeys(t *testing.T, where, kind string, m map[string]any) {
	t.Helper()
	for key := range m {
		if !slices.Contains(composeKeys[kind], key) {
			t.Errorf("%s: unknown key %q", where, key)
		}
	}
}

// TestComposeFile stands in for `docker compose config` where there is no
// Docker: the words are known, services and volumes that are named exist, and
// the proxy would accept its environment.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docker-compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		t.Fatal(err)
	}
	checkKeys(t, "file", "", file)
	services := file["services"].(map[string]any)
	volumes := file["volumes"].(map[string]any)
	for name, v := range services {
		s := v.(map[string]any)
		checkKeys(t, name, "service", s)
		if s["image"] == nil && s["build"] == nil {
			t.Errorf("%s: neither image nor build", name)
		}
		if b, ok := s["build"].(map[string]any); ok {
			checkKeys(t, name, "build", b)
		}
		if h, ok := s["healthcheck"].(map[string]any); ok {
			checkKeys(t, name, "health", h)
		}
		for _, d := range dependencies(s["depends_on"]) {
			if services[d] == nil {
				t.Errorf("%s: depends on %q, which is no service", name, d)
			}
		}
		if list, ok := s["volumes"].([]any); ok {
			for _, v := range list {
				volume, _, _ := strings.Cut(v.(string), ":")
				if _, ok := volumes[volume]; !ok {
					t.Errorf("%s: volume %q is not declared", name, volume)
				}
			}
		}
	}
	checkProxyService(t, services["proxy"].(map[string]any))
}

func dependencies(v any) (names []string) {
	switch v := v.(type) {
	case []any:
		for _, name := range v {
			names = append(names, name.(string))
		}
	case map[string]any:
		for name := range v {
			names = append(names, name)
		}
	}
	return names
}

func checkProxyService(t *testing.T, s map[string]any) {
	t.Helper()
	var environ []string
	for name, value := range s["environment"].(map[string]any) {
		environ = append(environ, fmt.Sprintf("%s=%v", name, value))
	}
	c, err := Load(Sources{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	if c.EngineName() != EnginePostgres || c.Metrics == "" {
		t.Errorf("the proxy's settings: %s", c)
	}
}
