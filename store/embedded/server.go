package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

// Config says what to serve and where.
type Config struct {
	// Dir is the directory, made if absent. Required.
	Dir string
	// Bucket is created if absent. Default pgbulkproxy.
	Bucket string
	// Region is what clients must sign for. Default us-east-1.
	Region string
	// Port is the port on 127.0.0.1. Zero: any free one.
	Port int
	// Logger gets one line for start and stop. Nil: silence.
	Logger *slog.Logger
}

// WithDefaults returns c with its zero fields filled in.
func (c Config) WithDefaults() Config {
	if c.Bucket == "" {
		c.Bucket = "pgbulkproxy"
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns every reason why c cannot be used, each naming its field.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("field Dir is required"))
	}
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("field Port %d is not between 0 and 65535", c.Port))
	}
	if !plainName(c.Bucket) {
		errs = append(errs, fmt.Errorf("field Bucket %q is not a bucket name", c.Bucket))
	}
	return errors.Join(errs...)
}

// Server is a running S3 server.
type Server struct {
	// Endpoint is the server's URL.
	Endpoint string
	// Region and Bucket are those of the Config.
	Region, Bucket string
	// AccessKey and SecretKey are the only credentials that it accepts.
	AccessKey, SecretKey string

	logger *slog.Logger
	stop   context.CancelFunc
	done   chan struct{}
	err    error // of the server; may be read once done is closed
	unlock func()

	closeOnce sync.Once
	closeErr  error
}

// running is whether this process has a server, which can be only one.
var running atomic.Bool

// ErrServed says that another process has the directory.
var ErrServed = errors.New("another process may be serving")

// ErrRunning says that the process has a server already.
var ErrRunning = errors.New("an embedded S3 server is running in this process already")

// Start starts a server and returns when it listens. ctx bounds the start only.
// The caller must call Close.
//
// The library below changes the working directory of the process for a moment;
// Start changes it back. Programs should start the server before they begin
// anything else that opens relative paths.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start S3 server: %w", err)
	}
	if !running.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("start S3 server: %w", ErrRunning)
	}
	s, err := open(cfg)
	if err != nil {
		running.Store(false)
		return nil, fmt.Errorf("start S3 server: %w", err)
	}
	if err := s.serve(ctx, cfg); err != nil {
		s.release()
		return nil, fmt.Errorf("start S3 server: %w", err)
	}
	cfg.Logger.Info("embedded S3 server is ready", "endpoint", s.Endpoint, "bucket", s.Bucket)
	return s, nil
}

// open prepares and locks the directory.
func open(cfg Config) (*Server, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s, which %w: %w", cfg.Dir, ErrServed, err), lock.Close())
	}
	creds, err := loadCredentials(filepath.Join(cfg.Dir, "credentials.json"))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Server{
		Region: cfg.Region, Bucket: cfg.Bucket, AccessKey: creds.AccessKey, SecretKey: creds.SecretKey,
		logger: cfg.Logger, unlock: func() { lock.Close() },
	}, nil
}

// serve runs the gateway. Where any port will do it tries a few, because one
// that was free a moment ago may be taken when the gateway asks for it.
func (s *Server) serve(ctx context.Context, cfg Config) error {
	for attempt := 1; ; attempt++ {
		port := cfg.Port
		if port == 0 {
			var err error
			if port, err = freePort(); err != nil {
				return err
			}
		}
		err := s.serveOn(ctx, cfg, port)
		if err == nil || cfg.Port != 0 || attempt == 3 || ctx.Err() != nil {
			return err
		}
	}
}

// serveOn starts one goroutine that runs the gateway until stop is called or the
// gateway fails; done is closed when it has ended. Close waits for it.
func (s *Server) serveOn(ctx context.Context, cfg Config, port int) error {
	be, err := newBackend(cfg.Dir)
	if err != nil {
		return err
	}
	if err := be.ensureBucket(ctx, cfg.Bucket, s.AccessKey); err != nil {
		be.Shutdown()
		return fmt.Errorf("create bucket: %w", err)
	}
	addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	listening := make(chan struct{})
	var once sync.Once
	gateway := &embedgw.Config{
		RootUserAccess: s.AccessKey, RootUserSecret: s.SecretKey, Region: cfg.Region,
		Ports:             []string{addr},
		MaxConnections:    4096, // far more than the proxy's own limit of uploads and its engines' readers
		MaxRequests:       4096,
		MultipartMaxParts: 10000, // S3's own limit
		// What the library would choose itself, and then print a line about it.
		IAMService: auth.NewIAMServiceSingle(auth.Account{Access: s.AccessKey, Secret: s.SecretKey, Role: auth.RoleAdmin}),
		Quiet:      true,
		KeepAlive:  true,
		S3Options:  []s3api.Option{s3api.WithOnListen(func() { once.Do(func() { close(listening) }) })},
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop, s.done = stop, make(chan struct{})
	go func() {
		s.err = embedgw.RunVersityGW(run, be, gateway)
		close(s.done)
	}()
	select {
	case <-listening:
		s.Endpoint = "http://" + addr
		if err := answers(ctx, s.Endpoint); err != nil {
			stop()
			<-s.done
			return err
		}
		return nil
	case <-s.done:
		stop()
		return errors.Join(errors.New("the server ended"), s.err)
	case <-ctx.Done():
		stop()
		<-s.done
		return context.Cause(ctx)
	}
}

// answers waits for the server's first answer, whatever it is: a server that is
// stopped between listening and serving never closes its listener.
func answers(ctx context.Context, endpoint string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	return response.Body.Close()
}

// Done is closed when the server has ended, asked for or not.
func (s *Server) Done() <-chan struct{} { return s.done }

// Close ends the server and unlocks the directory. If ctx ends first the server
// goes on ending in the background. It may be called again.
func (s *Server) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.stop()
		select {
		case <-s.done:
			s.release()
			if s.err != nil {
				s.closeErr = fmt.Errorf("stop S3 server: %w", s.err)
			}
			s.logger.Info("embedded S3 server has stopped", "endpoint", s.Endpoint)
		case <-ctx.Done():
			s.closeErr = fmt.Errorf("stop S3 server: %w", context.Cause(ctx))
			go func() { // ends with the server
				<-s.done
				s.release()
			}()
		}
	})
	return s.closeErr
}

func (s *Server) release() {
	s.unlock()
	running.Store(false)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
