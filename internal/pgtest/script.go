package pgtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Script is one file of cases.
type Script struct {
	Path     string
	Database string // SQL run once per database
	Cases    []*Case
	options  optionSet
}

// Case is one scenario. Its steps run in order on both sides.
type Case struct {
	Name string
	// Expect is the way the author expects the proxy to go ("stage", "stream",
	// "pass"), or empty.
	Expect  string
	Setup   string
	options optionSet
	steps   []step
}

// optionSet is what a file sets for all its cases and a case for itself.
type optionSet struct {
	minVersion, maxVersion int // 0: no bound
	extensions             []string
	waive                  string
	volatile               []*regexp.Regexp
	params                 map[string]string
	expect                 string
	state                  string
	setup                  string
	skip                   string
}

// step is one directive of a case with its body.
type step struct {
	word, rest string
	line       int
	text       string // body as SQL
	sources    []source
}

// ParseFile reads a script.
func ParseFile(path string) (*Script, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	return Parse(path, string(text))
}

// Parse reads a script from text. path names it in errors and is where the
// files of CopyFile are found.
func Parse(path, text string) (*Script, error) {
	script := &Script{Path: path}
	names := map[string]bool{}
	for _, directive := range split(text) {
		if err := script.add(directive, names); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, directive.line, err)
		}
	}
	if len(script.Cases) == 0 {
		return nil, fmt.Errorf("%s: no case", path)
	}
	return script, nil
}

// split cuts the text into directives. Bodies keep their lines but lose the
// indentation.
func split(text string) []step {
	var directives []step
	for number, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
		case (line[0] == '\t' || line[0] == ' ') && len(directives) > 0:
			last := &directives[len(directives)-1]
			last.text += strings.TrimSpace(line) + "\n"
		default:
			word, rest, _ := strings.Cut(line, " ")
			directives = append(directives, step{word: word, rest: strings.TrimSpace(rest), line: number + 1})
		}
	}
	return directives
}

func (s *Script) add(directive step, names map[string]bool) error {
	if directive.word == "case" {
		if directive.rest == "" || names[directive.rest] {
			return fmt.Errorf("case name %q is empty or taken", directive.rest)
		}
		names[directive.rest] = true
		inherited := s.options
		inherited.params = maps.Clone(s.options.params)
		s.Cases = append(s.Cases, &Case{Name: directive.rest, options: inherited, Expect: inherited.expect})
		return nil
	}
	if len(s.Cases) == 0 {
		if directive.word == "database" {
			s.Database += directive.rest + "\n" + directive.text
			return nil
		}
		known, err := s.options.set(directive)
		if err == nil && !known {
			err = fmt.Errorf("directive %q before the first case", directive.word)
		}
		return err
	}
	current := s.Cases[len(s.Cases)-1]
	known, err := current.options.set(directive)
	current.Expect, current.Setup = current.options.expect, current.options.setup
	if err != nil || known {
		return err
	}
	if err := directive.prepare(filepath.Dir(s.Path)); err != nil {
		return err
	}
	current.steps = append(current.steps, directive)
	return nil
}

// set takes an option, or reports that the directive is none.
func (o *optionSet) set(directive step) (known bool, err error) {
	words := strings.Fields(directive.rest)
	switch directive.word {
	case "version":
		return true, o.setVersion(words)
	case "requires":
		if len(words) != 2 || words[0] != "extension" {
			return true, fmt.Errorf("requires %q", directive.rest)
		}
		o.extensions = append(o.extensions[:len(o.extensions):len(o.extensions)], words[1])
	case "waive":
		o.waive += strings.Join(words, "")
	case "volatile":
		expression, err := regexp.Compile(directive.rest)
		if err != nil {
			return true, fmt.Errorf("volatile: %w", err)
		}
		o.volatile = append(o.volatile[:len(o.volatile):len(o.volatile)], expression)
	case "params":
		if o.params == nil {
			o.params = map[string]string{}
		}
		return true, pairs(words, o.params)
	case "expect":
		o.expect = directive.rest
	case "state":
		o.state = directive.rest
	case "skip":
		if directive.rest == "" {
			return true, fmt.Errorf("skip needs a reason")
		}
		o.skip = directive.rest
	case "setup":
		o.setup += directive.rest + "\n" + directive.text
	default:
		return false, nil
	}
	return true, nil
}

// setVersion reads ">= 16" or "< 17".
func (o *optionSet) setVersion(words []string) error {
	if len(words) != 2 {
		return fmt.Errorf("version needs an operator and a number")
	}
	version, err := strconv.Atoi(words[1])
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	switch words[0] {
	case ">=":
		o.minVersion = version
	case "<":
		o.maxVersion = version - 1
	default:
		return fmt.Errorf("version operator %q", words[0])
	}
	return nil
}

func pairs(words []string, into map[string]string) error {
	for _, word := range words {
		name, value, found := strings.Cut(word, "=")
		if !found {
			return fmt.Errorf("%q is not name=value", word)
		}
		into[name] = value
	}
	return nil
}

// prepare checks a step and parses the messages in its body, so that a
// misspelt script fails before anything runs.
func (s *step) prepare(dir string) error {
	switch s.word {
	case "send":
		lines := bodyLines(s.text)
		if s.rest != "" {
			lines = append([]string{s.rest}, lines...)
		}
		return s.parseSources(lines, dir)
	case "copy", "copyx":
		return s.parseSources(bodyLines(s.text), dir)
	case "until":
		if s.rest == "" {
			return fmt.Errorf("until needs a message type")
		}
		for _, name := range strings.Fields(s.rest) {
			if !isBackendName(name) {
				return fmt.Errorf("unknown backend message %q", name)
			}
		}
	case "query", "exec", "wait", "check":
		s.text = strings.TrimSpace(s.rest + "\n" + s.text)
		if s.text == "" {
			return fmt.Errorf("%s needs SQL", s.word)
		}
	case "client", "cancel":
		if s.rest == "" {
			return fmt.Errorf("%s needs a name", s.word)
		}
	case "close", "terminate", "eof":
	default:
		return fmt.Errorf("unknown directive %q", s.word)
	}
	return nil
}

func (s *step) parseSources(lines []string, dir string) error {
	for _, line := range lines {
		parsed, err := parseMessage(line, dir)
		if err != nil {
			return err
		}
		s.sources = append(s.sources, parsed)
	}
	return nil
}

func bodyLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func isBackendName(name string) bool {
	for _, known := range backendNames {
		if known == name {
			return true
		}
	}
	return false
}
