package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Secret is a string that fmt, slog and encoders print as xxxxx.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "xxxxx"
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the value from encoders and from slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config says which bucket to use and what it may cost. Keys are full keys: no
// prefix is added to them.
type Config struct {
	// Bucket is the bucket's name. Required, but for EmbeddedDir.
	Bucket string
	// Endpoint is the URL of the S3 server. Empty: AWS.
	Endpoint string
	// Region to sign for. Empty: that of the AWS environment and files; with an
	// Endpoint us-east-1 if those have none.
	Region string
	// PathStyle puts the bucket into the path of the URL instead of its host.
	PathStyle bool
	// AccessKey and SecretKey are fixed credentials, with SessionToken where
	// they are temporary. Empty: the AWS chain of environment, files, container
	// and instance.
	AccessKey    string
	SecretKey    Secret
	SessionToken Secret
	// EmbeddedDir is served by a server in this process, which provides the
	// fields above.
	EmbeddedDir string

	// PartSize is the size of the parts of a multipart upload. 5 MiB (S3's minimum) to 5 GiB, default 8 MiB: large
	// enough to hide the latency of a request, small enough to repeat. It grows
	// by itself for objects of more than 10000 parts.
	PartSize int64
	// OneRequest is the size up to which an object goes up in one request, since
	// making an object of parts costs two more requests, and many stores copy
	// the parts. At least PartSize, at most 5 GiB, default four times PartSize.
	OneRequest int64
	// PartsInFlight is how many parts of one object are on their way at a time.
	// 1 to 64, default 2: enough to fill the pause between two parts.
	PartsInFlight int
	// MaxPuts is how many Puts run at a time; more wait. 1 to 1024, default 8.
	MaxPuts int
	// MaxAttempts is how often a single request is tried. 1 to 20, default 3.
	MaxAttempts int
	// PartTimeout bounds one attempt to upload one part, and to complete an
	// upload; an attempt to upload more than a part in one request may take so
	// long for each part's worth. Default 30s: that is 280 kB/s for a part of the
	// default size.
	PartTimeout time.Duration
	// RequestTimeout bounds one attempt of every other request, and each wait
	// for more bytes in reading an object. Default 15s.
	RequestTimeout time.Duration
	// CleanupTimeout bounds what a Put does after it failed to leave nothing
	// behind, so that a dead store cannot hold it up. Default 3s.
	CleanupTimeout time.Duration
	// ConnectTimeout bounds one attempt to connect. Default 5s.
	ConnectTimeout time.Duration
}

// WithDefaults returns c with its zero fields filled in.
func (c Config) WithDefaults() Config {
	def(&c.PartSize, 8<<20)
	def(&c.OneRequest, min(4*c.PartSize, maxRequest))
	def(&c.PartsInFlight, 2)
	def(&c.MaxPuts, 8)
	def(&c.MaxAttempts, 3)
	def(&c.PartTimeout, 30*time.Second)
	def(&c.RequestTimeout, 15*time.Second)
	def(&c.CleanupTimeout, 3*time.Second)
	def(&c.ConnectTimeout, 5*time.Second)
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate returns every reason why c cannot be used, each naming its field and
// bound. It expects the defaults to be filled in.
func (c Config) Validate() error {
	errs := []error{
		between("PartSize", c.PartSize, 5<<20, maxRequest),
		between("OneRequest", c.OneRequest, c.PartSize, maxRequest),
		between("PartsInFlight", c.PartsInFlight, 1, 64),
		between("MaxPuts", c.MaxPuts, 1, 1024),
		between("MaxAttempts", c.MaxAttempts, 1, 20),
		between("PartTimeout", c.PartTimeout, time.Millisecond, time.Hour),
		between("RequestTimeout", c.RequestTimeout, time.Millisecond, time.Hour),
		between("CleanupTimeout", c.CleanupTimeout, time.Millisecond, time.Hour),
		between("ConnectTimeout", c.ConnectTimeout, time.Millisecond, time.Hour),
		validateEndpoint(c.Endpoint),
	}
	if c.EmbeddedDir != "" {
		if c.Bucket+c.Endpoint+c.Region+c.AccessKey+string(c.SecretKey+c.SessionToken) != "" {
			errs = append(errs, errors.New("EmbeddedDir leaves no choice of Bucket, Endpoint, Region and credentials"))
		}
		return errors.Join(errs...)
	}
	if c.Bucket == "" {
		errs = append(errs, errors.New("field Bucket is required"))
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		errs = append(errs, errors.New("AccessKey and SecretKey need each other"))
	}
	if c.SessionToken != "" && c.AccessKey == "" {
		errs = append(errs, errors.New("SessionToken needs AccessKey"))
	}
	return errors.Join(errs...)
}

func between[T int | int64 | time.Duration](field string, v, low, high T) error {
	if v < low || v > high {
		return fmt.Errorf("%s %v is not between %v and %v", field, v, low, high)
	}
	return nil
}

// validateEndpoint does not repeat the value, which might hold a password.
func validateEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("field Endpoint is not an http or https URL")
	case u.User != nil:
		return errors.New("field Endpoint must not hold credentials")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("field Endpoint must not have a query or fragment")
	}
	return nil
}

// private is whether nobody can alter what is sent on the way to the endpoint,
// because of TLS or because it does not leave the machine. Otherwise bodies are
// signed too, which costs a SHA-256 of every byte.
func (c Config) private() bool {
	if c.Endpoint == "" {
		return true // AWS over TLS
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}
