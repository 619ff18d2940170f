package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestMaskDSN(t *testing.T) {
	t.Parallel()
	cases := []struct{ in, want string }{
		{"", ""},
		{"host=db user=u dbname=d", "host=db user=u dbname=d"},
		{"host=db password=hidden user=u", "host=db password=xxxxx user=u"},
		{"host = db password = hidden", "host=db password=xxxxx"},
		{`password='hid\'den word' host=db`, "password=xxxxx host=db"},
		{`password=hid\ den host=db`, "password=xxxxx host=db"},
		{"password=hid://den host=db", "password=xxxxx host=db"},
		{"host=db sslpassword=hidden", "host=db sslpassword=xxxxx"},
		{"host=db password= user=u", "host=db password=xxxxx"},
		{"host=db password='hidden", "xxxxx"},
		{"hidden", "xxxxx"},
		{"postgres://u:hidden@db:5432/d", "postgres://u:xxxxx@db:5432/d"},
		{"postgresql://u@db/d?password=hidden&sslmode=require", "postgresql://u@db/d?password=xxxxx&sslmode=require"},
		{"postgres://u:hid%ZZ@db", "xxxxx"},
		{"s3://b/p?endpoint=http%3A%2F%2Fh%3A1&secret_key=hidden", "s3://b/p?endpoint=http%3A%2F%2Fh%3A1&secret_key=xxxxx"},
		{"embedded:/var/lib/x y", "embedded:/var/lib/x y"},
	}
	for _, c := range cases {
		if got := MaskDSN(c.in); got != c.want {
			t.Errorf("MaskDSN(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestConfigNeverShowsSecrets(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Upstream, c.ServiceDSN = "db:5432", "postgres://svc:hidden@db/postgres"
	c.Store = "s3://bucket/p?secret_key=hidden"
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("settings", "config", c)
	for _, text := range []string{c.String(), log.String(), fmt.Sprintf("%v %+v %#v %s", c, c, c, &c)} {
		if strings.Contains(text, "hidden") {
			t.Errorf("a secret is shown: %s", text)
		}
		if !strings.Contains(text, "svc:xxxxx@db") || !strings.Contains(text, "db:5432") {
			t.Errorf("a setting is missing: %s", text)
		}
	}
	if strings.Contains(c.String(), "drain_timeout") {
		t.Errorf("defaults are shown: %s", c)
	}
}
