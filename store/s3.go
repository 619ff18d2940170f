package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

// s3Store is the store itself, without wrappers.
type s3Store struct {
	cfg       Config
	m         *metrics
	client    *s3.Client
	presigner *s3.PresignClient
	transport *http.Transport
	bucket    *string
	secrets   []string // never to stand in an error
	// noChecksums: the store does not know the checksum header.
	noChecksums atomic.Bool
}

// openS3 makes the client. It sends nothing to the store; the AWS chain may ask
// its own services for a region and later for credentials.
func openS3(ctx context.Context, cfg Config, m *metrics) (*s3Store, error) {
	options := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})}
	if cfg.Region != "" {
		options = append(options, config.WithRegion(cfg.Region))
	}
	if cfg.AccessKey != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(cfg.AccessKey, string(cfg.SecretKey), string(cfg.SessionToken))))
	}
	awsCfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if awsCfg.Region == "" {
		if cfg.Endpoint == "" {
			return nil, errors.New("no Region, neither in the configuration nor in the AWS environment")
		}
		awsCfg.Region = "us-east-1"
	}
	cfg.Region = awsCfg.Region
	s := &s3Store{cfg: cfg, m: m, bucket: aws.String(cfg.Bucket), transport: newTransport(cfg)}
	for _, secret := range []string{string(cfg.SecretKey), string(cfg.SessionToken), cfg.AccessKey} {
		if secret != "" {
			s.secrets = append(s.secrets, secret)
		}
	}
	s.client = s3.NewFromConfig(awsCfg, s.options)
	s.presigner = s3.NewPresignClient(s.client)
	return s, nil
}

func (s *s3Store) options(o *s3.Options) {
	if s.cfg.Endpoint != "" {
		o.BaseEndpoint = aws.String(s.cfg.Endpoint)
	}
	o.UsePathStyle = s.cfg.PathStyle
	// TLS and TCP check what is transferred, and Put sends a checksum where the
	// content knows one. Another would cost CPU, and not every server knows the
	// newer ones.
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.HTTPClient = &http.Client{
		Transport: s.transport,
		// A redirect means that the region is wrong; following it would send
		// signed requests elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	o.Retryer = counted{m: s.m, RetryerV2: retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts = s.cfg.MaxAttempts
		r.MaxBackoff = 5 * time.Second // a statement waits behind it
		// Attempts are bounded for each request. The default, a budget shared by
		// all, would fail healthy requests after an outage.
		r.RateLimiter = ratelimit.None
		// The embedded server keeps objects as files: who puts one while the folder
		// is removed behind its last neighbour gets this.
		r.Retryables = append(r.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{"ExistingObjectIsDirectory": {}}})
	})}
}

// counted counts the retries.
type counted struct {
	aws.RetryerV2
	m *metrics
}

// RetryDelay is called before each retry.
func (c counted) RetryDelay(attempt int, err error) (time.Duration, error) {
	c.m.retried()
	return c.RetryerV2.RetryDelay(attempt, err)
}

func newTransport(cfg Config) *http.Transport {
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 30 * time.Second}
	connections := cfg.MaxPuts*cfg.PartsInFlight + 16 // 16 for reads and small requests
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   cfg.ConnectTimeout,
		MaxIdleConns:          connections,
		MaxIdleConnsPerHost:   connections,
		IdleConnTimeout:       30 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // objects are to come back as they were put
		WriteBufferSize:       256 << 10,
		ReadBufferSize:        128 << 10,
		// HTTP/2 would send all parts over one connection, which is slower.
		Protocols: http1Only(),
	}
}

func http1Only() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// URL returns the s3:// address of a key.
func (s *s3Store) URL(key string) string { return "s3://" + s.cfg.Bucket + "/" + key }

// close gives up idle connections.
func (s *s3Store) close() { s.transport.CloseIdleConnections() }
