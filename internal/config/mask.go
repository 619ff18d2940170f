package config

import (
	"log/slog"
	"net/url"
	"regexp"
	"strings"
)

// Masked stands in for a secret, as in net/url's Redacted.
const Masked = "xxxxx"

// Setting is one key with its value in the spelling of the file, secrets masked.
type Setting struct {
	Key, Value string
	// Default says that the value is the default.
	Default bool
}

// Settings returns all keys in the order of the table, secrets masked.
func (c Config) Settings() []Setting {
	var all []Setting
	for _, k := range Keys() {
		v := k.get(&c)
		d := Default()
		isDefault := v == k.get(&d)
		if k.Secret {
			v = MaskDSN(v)
		}
		all = append(all, Setting{k.Name, v, isDefault})
	}
	return all
}

// String returns key=value for each setting that isn't its default, secrets
// masked, so that a Config that slips into %v gives nothing away.
func (c Config) String() string {
	var parts []string
	for _, s := range c.Settings() {
		if !s.Default {
			parts = append(parts, s.Key+"="+s.Value)
		}
	}
	return strings.Join(parts, " ")
}

// GoString is String, for %#v.
func (c Config) GoString() string { return "config.Config{" + c.String() + "}" }

// LogValue is String's content as log attributes.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, s := range c.Settings() {
		if !s.Default {
			attrs = append(attrs, slog.String(s.Key, s.Value))
		}
	}
	return slog.GroupValue(attrs...)
}

// MaskDSN masks the secrets in a connection string of either form, or in a
// store URL. What it can't read it masks as a whole.
func MaskDSN(dsn string) string {
	if strings.HasPrefix(dsn, "embedded:") {
		return dsn
	}
	// Not by "://" alone: a keyword form may hold it inside a password.
	for _, scheme := range []string{"postgres://", "postgresql://", "s3://"} {
		if strings.HasPrefix(dsn, scheme) {
			return maskURL(dsn)
		}
	}
	return maskKeywords(dsn)
}

// secretWord matches the names of parameters that hold secrets: password,
// sslpassword, secret_key, access_token …; passfile is none.
func secretWord(name string) bool {
	name = strings.ToLower(name)
	for _, w := range []string{"password", "secret", "token", "signature", "credential", "access_key"} {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

func maskURL(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return Masked
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), Masked)
	}
	query := u.Query()
	for name := range query {
		if secretWord(name) {
			query.Set(name, Masked)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// maskKeywords reads libpq's form: blanks around '=' are allowed, values are
// quoted by ' with \ as escape.
func maskKeywords(dsn string) string {
	pair := regexp.MustCompile(`^\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)`)
	var out []string
	for strings.TrimSpace(dsn) != "" {
		m := pair.FindStringSubmatch(dsn)
		if m == nil {
			return Masked
		}
		value := m[2]
		if secretWord(m[1]) {
			value = Masked
		}
		out = append(out, m[1]+"="+value)
		dsn = dsn[len(m[0]):]
	}
	return strings.Join(out, " ")
}
