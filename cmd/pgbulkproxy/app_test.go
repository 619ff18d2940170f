package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestEveryFlagIsAKey: serve has the flags that the table of keys says, with
// its documentation.
func TestEveryFlagIsAKey(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := run([]string{"serve", "--help"}, &app{stdout: &out, stderr: &errs}); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	help := strings.Join(strings.Fields(out.String()), " ")
	for _, k := range config.Keys() {
		flag := "--" + strings.NewReplacer("_", "-", ".", "-").Replace(k.Name)
		if k.Kind == config.Bool {
			flag = "--[no-]" + flag[2:]
		}
		if has := strings.Contains(help, flag); has != k.Flag {
			t.Errorf("%s: flag %s is there: %v", k.Name, flag, has)
		}
	}
}

// TestFlagsReachTheConfiguration sets every flag.
func TestFlagsReachTheConfiguration(t *testing.T) {
	t.Parallel()
	s := serveCmd{}
	texts := map[string]**string{
		"listen": &s.Listen, "upstream": &s.Upstream, "service_dsn": &s.ServiceDSN, "store": &s.Store,
		"engine": &s.Engine, "metrics": &s.Metrics, "log.level": &s.LogLevel,
	}
	values := map[string]string{
		"listen": "127.0.0.1:1", "upstream": "127.0.0.1:2", "service_dsn": "host=x", "store": "s3://b",
		"engine": "plain", "metrics": "127.0.0.1:3", "log.level": "debug", "auto_install": "on",
	}
	for name, p := range texts {
		v := values[name]
		*p = &v
	}
	on := true
	s.AutoInstall = &on
	c, err := config.Load(s.sources(&app{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range c.Settings() {
		if want, ok := values[set.Key]; ok && set.Value != want {
			t.Errorf("%s is %q, want %q", set.Key, set.Value, want)
		} else if !ok && !set.Default {
			t.Errorf("%s is %q, and has no flag", set.Key, set.Value)
		}
	}
}

func TestUntilSignal(t *testing.T) {
	t.Parallel()
	signals := make(chan os.Signal, 2)
	a := &app{signals: signals}
	boom := errors.New("boom")
	if err := a.untilSignal(func(context.Context) error { return boom }); err != boom {
		t.Errorf("work's own error: %v", err)
	}
	signals <- os.Interrupt
	if err := a.untilSignal(func(ctx context.Context) error { <-ctx.Done(); return nil }); err != nil {
		t.Errorf("one signal: %v", err)
	}
	stuck, ended := make(chan struct{}), make(chan struct{})
	signals <- os.Interrupt
	signals <- os.Interrupt
	err := a.untilSignal(func(context.Context) error {
		defer close(ended)
		<-stuck
		return nil
	})
	if !errors.Is(err, errStopped) {
		t.Errorf("two signals: %v", err)
	}
	close(stuck)
	<-ended
}

// TestErrorsAreOneLine: joined errors have several.
func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	a := &app{stderr: &errs}
	if code := a.fail(errors.Join(errors.New("a"), errors.New("b")), exitError); code != exitError {
		t.Errorf("exit code %d", code)
	}
	if errs.String() != "pgbulkproxy: a; b\n" {
		t.Errorf("%q", errs.String())
	}
}
