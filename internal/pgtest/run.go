package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// applicationName marks the sessions of scripts, so that the runner can see
// when the server has got rid of them.
const applicationName = "pgtest"

// side is one run of one case: through one target, on one database.
type side struct {
	target      Target
	admin       *pgx.Conn // goes to the server itself on both sides
	database    string
	extended    bool // run copy steps as copyx
	timeout     time.Duration
	pairs       *Pairs
	proxied     bool
	distributed bool
	waits       string // instead of LockWait
	// before and after a case's setup; may be nil.
	before, after func(ctx context.Context, admin *pgx.Conn) error

	norm    *normalizer
	clients map[string]*Client
	ended   map[string]bool
	current string
	lines   []string
	stuck   bool // a timeout ended the case
}

// run executes the steps and returns the transcript. An error means that the
// script could not be run, not that a message was unexpected.
func (s *side) run(ctx context.Context, c *Case) ([]string, error) {
	s.norm = newNormalizer(s.database, &c.options)
	s.norm.distributed = s.distributed
	if s.pairs != nil {
		s.norm.suffix = s.pairs.Suffix
	}
	s.clients, s.ended, s.current = map[string]*Client{}, map[string]bool{}, "main"
	s.lines, s.stuck = nil, false
	defer func() {
		for _, client := range s.clients {
			client.Close()
		}
	}()
	for i := range c.steps {
		if err := s.step(ctx, c, &c.steps[i]); err != nil {
			return s.lines, fmt.Errorf("line %d, %s: %w", c.steps[i].line, c.steps[i].word, err)
		}
		if s.stuck {
			return s.lines, nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.clients)) {
		s.current = name
		if err := s.terminate(ctx); err != nil {
			return s.lines, err
		}
	}
	return s.lines, s.addState(ctx, c.options.state)
}

func (s *side) step(ctx context.Context, c *Case, step *step) error {
	s.note("-- %s %s", step.word, step.rest)
	switch step.word {
	case "client":
		return s.switchTo(ctx, c, step.rest)
	case "exec":
		_, err := s.admin.PgConn().Exec(ctx, s.expand(step.text)).ReadAll()
		return err
	case "check":
		return s.check(ctx, s.expand(step.text))
	case "wait":
		if s.waits != "" && step.text == LockWait {
			return s.wait(ctx, s.waits)
		}
		return s.wait(ctx, s.expand(step.text))
	case "cancel":
		client, open := s.clients[step.rest]
		if !open {
			return fmt.Errorf("no client %q", step.rest)
		}
		return client.Cancel(ctx)
	}
	client, err := s.client(ctx, c)
	if err != nil {
		return err
	}
	switch step.word {
	case "send":
		return s.send(ctx, client, step.sources...)
	case "until":
		return s.until(ctx, client, strings.Fields(step.rest)...)
	case "query":
		return s.query(ctx, client, step.text)
	case "copy", "copyx":
		return s.copy(ctx, client, step, s.extended || step.word == "copyx")
	case "close":
		client.Close()
		s.ended[s.current] = true
		return nil
	case "terminate":
		return s.terminate(ctx)
	default:
		return s.drain(ctx, client)
	}
}

func (s *side) note(format string, arguments ...any) {
	s.lines = append(s.lines, s.norm.text(strings.TrimSpace(fmt.Sprintf(format, arguments...))))
}

// switchTo reads "name k=v …" and connects the client if it is new.
func (s *side) switchTo(ctx context.Context, c *Case, rest string) error {
	words := strings.Fields(s.expand(rest))
	s.current = words[0]
	overrides := map[string]string{}
	if err := pairs(words[1:], overrides); err != nil {
		return err
	}
	_, err := s.connect(ctx, c, overrides)
	return err
}

func (s *side) client(ctx context.Context, c *Case) (*Client, error) {
	return s.connect(ctx, c, nil)
}

func (s *side) connect(ctx context.Context, c *Case, overrides map[string]string) (*Client, error) {
	if client, open := s.clients[s.current]; open {
		return client, nil
	}
	all := map[string]string{"application_name": applicationName}
	if _, named := overrides["user"]; named {
		all["password"] = scriptPassword
	}
	maps.Copy(all, c.options.params)
	maps.Copy(all, overrides)
	for name, value := range all {
		all[name] = s.expand(value)
	}
	client, err := Dial(ctx, s.target.DSN(s.database), all)
	if err != nil {
		return nil, fmt.Errorf("connect client %s: %w", s.current, err)
	}
	s.clients[s.current] = client
	s.norm.pids[client.PID()] = s.current
	for _, parameter := range client.Startup {
		s.note("%s: %s", s.current, parameter)
	}
	return client, nil
}

func (s *side) send(ctx context.Context, client *Client, sources ...source) error {
	var all [][]byte
	for _, source := range sources {
		chunks, err := source(s.expand)
		if err != nil {
			return err
		}
		all = append(all, chunks...)
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if errors.Is(client.Send(limited, [][]byte{slices.Concat(all...)}), errTimeout) {
		s.stuck = true
		s.note("%s: WRITE TIMEOUT", s.current)
	}
	return ctx.Err()
}

// until records messages up to and including each of the named ones in turn.
func (s *side) until(ctx context.Context, client *Client, names ...string) error {
	for _, name := range names {
		if _, err := s.await(ctx, client, name); err != nil || s.stuck || s.ended[s.current] {
			return err
		}
	}
	return nil
}

// await records messages until one of the named ones and returns its name. At
// the end of the connection, or after a timeout, the name is empty.
func (s *side) await(ctx context.Context, client *Client, names ...string) (string, error) {
	if s.ended[s.current] {
		return "", nil
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		message, err := client.Next(limited)
		switch {
		case errors.Is(err, io.EOF):
			s.ended[s.current] = true
			s.note("%s: EOF", s.current)
			return "", nil
		case errors.Is(err, errTimeout):
			s.stuck = true
			s.note("%s: TIMEOUT waiting for %s", s.current, strings.Join(names, " or "))
			return "", ctx.Err()
		case err != nil:
			return "", err
		}
		s.note("%s: %s", s.current, message.render(s.norm))
		if slices.Contains(names, message.Name()) {
			return message.Name(), nil
		}
	}
}

func (s *side) query(ctx context.Context, client *Client, text string) error {
	if err := s.send(ctx, client, fixed("Query", s.expand(text))); err != nil {
		return err
	}
	return s.until(ctx, client, "ReadyForQuery")
}

// copy plays a well-behaved client: it sends data only when asked for it, and
// finishes with CopyDone unless the body ends otherwise.
func (s *side) copy(ctx context.Context, client *Client, step *step, extended bool) error {
	statement := s.expand(step.rest)
	start := []source{fixed("Query", statement)}
	finish := step.sources
	if !strings.Contains(step.text, "CopyFail") {
		finish = append(finish[:len(finish):len(finish)], fixed("CopyDone", ""))
	}
	if extended {
		start = []source{fixed("Parse", statement), fixed("Bind", ""), fixed("Execute", ""), fixed("Sync", "")}
		finish = append(finish[:len(finish):len(finish)], fixed("Sync", ""))
	}
	if err := s.send(ctx, client, start...); err != nil {
		return err
	}
	name, err := s.await(ctx, client, "CopyInResponse", "ReadyForQuery")
	if err != nil || name != "CopyInResponse" {
		return err
	}
	if err := s.send(ctx, client, finish...); err != nil {
		return err
	}
	return s.until(ctx, client, "ReadyForQuery")
}

func (s *side) terminate(ctx context.Context) error {
	client, open := s.clients[s.current]
	if !open || s.ended[s.current] {
		return nil
	}
	if err := s.send(ctx, client, fixed("Terminate", "")); err != nil {
		return err
	}
	return s.drain(ctx, client)
}

func (s *side) drain(ctx context.Context, client *Client) error {
	_, err := s.await(ctx, client)
	return err
}

func fixed(name, text string) source {
	return func(func(string) string) ([][]byte, error) {
		message, err := frontendMessage(name, "")
		if err != nil {
			return nil, err
		}
		setText(message, text)
		encoded, err := message.Encode(nil)
		return [][]byte{encoded}, err
	}
}

func (s *side) expand(text string) string {
	return strings.NewReplacer("${db}", s.database, "${password}", scriptPassword).Replace(text)
}
