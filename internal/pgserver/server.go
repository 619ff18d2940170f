package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Server is a running PostgreSQL server. Its methods may be called concurrently.
type Server struct {
	cfg       Config
	account   account
	proc      *process
	ownSocket bool // we made SocketDir and remove it

	stopOnce sync.Once
	stopErr  error
}

// Start starts a server and returns when it accepts connections. ctx bounds the
// start only. The caller must call Stop.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	bin, err := Find(ctx, cfg.BinDir)
	if errors.Is(err, ErrNoBinaries) && cfg.BinDir == "" && cfg.Download {
		bin, err = download(cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	cfg.BinDir = bin
	s := &Server{cfg: cfg}
	if err := s.prepare(ctx); err != nil {
		s.removeSocketDir()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := s.launch(ctx); err != nil {
		s.removeSocketDir()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	cfg.Logger.Info("PostgreSQL is ready", "file", s.cfg.DataDir, "port", s.cfg.Port)
	return s, nil
}

// prepare makes the directories and the cluster.
func (s *Server) prepare(ctx context.Context) error {
	var err error
	if s.account, err = childAccount(s.cfg.User); err != nil {
		return err
	}
	if err := s.account.canEnter(filepath.Join(s.cfg.BinDir, "postgres")); err != nil {
		return err
	}
	if err := initialize(ctx, s.cfg, s.account); err != nil {
		return err
	}
	if err := s.account.own(s.cfg.DataDir); err != nil {
		return fmt.Errorf("own data directory: %w", err)
	}
	if err := s.account.canEnter(s.cfg.DataDir); err != nil {
		return err
	}
	return s.prepareSocketDir()
}

// prepareSocketDir makes a private directory where none is configured. It does
// not stand in the data directory, whose path may be too long for a socket.
func (s *Server) prepareSocketDir() error {
	if s.cfg.SocketDir != "" {
		if err := os.MkdirAll(s.cfg.SocketDir, 0o700); err != nil {
			return fmt.Errorf("make socket directory: %w", err)
		}
	} else {
		dir, err := os.MkdirTemp("", "pgbulk-")
		if err != nil {
			return fmt.Errorf("make socket directory: %w", err)
		}
		s.cfg.SocketDir, s.ownSocket = dir, true
		if n := len(filepath.Join(dir, ".s.PGSQL.65535")); n > maxSocketPath {
			return fmt.Errorf("socket path in %s has %d bytes, the most is %d", dir, n, maxSocketPath)
		}
	}
	if s.account.cred != nil {
		if err := os.Chown(s.cfg.SocketDir, int(s.account.cred.Uid), int(s.account.cred.Gid)); err != nil {
			return fmt.Errorf("own socket directory: %w", err)
		}
	}
	return s.account.canEnter(filepath.Join(s.cfg.SocketDir, "socket"))
}

// launch starts the server, and again with another port where we chose a port
// and somebody took it before the server did.
func (s *Server) launch(ctx context.Context) error {
	chosen := s.cfg.Port == 0
	for attempt := 1; ; attempt++ {
		if chosen {
			port, err := freePort()
			if err != nil {
				return err
			}
			s.cfg.Port = port
		}
		err := s.launchOnce(ctx)
		if err == nil || !chosen || attempt == 3 || ctx.Err() != nil {
			return err
		}
	}
}

func (s *Server) launchOnce(ctx context.Context) error {
	hba := filepath.Join(s.cfg.DataDir, "pgserver_hba.conf")
	if err := writeNew(hba, s.hba()); err != nil {
		return fmt.Errorf("write pg_hba file: %w", err)
	}
	logPath := s.LogFile()
	if err := os.Rename(logPath, logPath+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep the last log: %w", err)
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open server log: %w", err)
	}
	defer log.Close()
	cmd := command(s.cfg.BinDir, "postgres", s.account, s.arguments(hba)...)
	cmd.Stdout, cmd.Stderr = log, log
	if s.proc, err = start(cmd); err != nil {
		return fmt.Errorf("run postgres: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.StartTimeout,
		fmt.Errorf("not ready after %s", s.cfg.StartTimeout))
	defer cancel()
	if err := s.awaitReady(ctx); err != nil {
		s.proc.kill()
		<-s.proc.done
		out, _ := os.ReadFile(logPath) // an unreadable log only makes the error shorter
		return fmt.Errorf("%w: %s", err, lastLines(string(out)))
	}
	return nil
}

// awaitReady tries to connect until the server lets us in. The server tells
// nobody when it is ready, so it is asked, 50 times a second.
func (s *Server) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgconn.Connect(ctx, s.DSN("postgres", Superuser))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.proc.done:
			return fmt.Errorf("server ended: %w", cmpErr(s.proc.err, errors.New("exit status 0")))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Stop ends all sessions and the server: a fast shutdown, then SIGKILL after
// Config.StopTimeout or when ctx ends. It returns when the process is gone and
// may be called again.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Server) stop(ctx context.Context) error {
	defer s.removeSocketDir()
	select {
	case <-s.proc.done:
		return fmt.Errorf("stop PostgreSQL: it had ended: %w", cmpErr(s.proc.err, errors.New("exit status 0")))
	default:
	}
	// The process may end by itself right now; then done tells.
	_ = s.proc.cmd.Process.Signal(syscall.SIGINT)
	timer := time.NewTimer(s.cfg.StopTimeout)
	defer timer.Stop()
	select {
	case <-s.proc.done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	s.cfg.Logger.Warn("PostgreSQL did not stop in time and is killed", slog.Int("pid", s.proc.cmd.Process.Pid))
	s.proc.kill()
	<-s.proc.done
	return errors.New("stop PostgreSQL: it did not stop in time and was killed")
}

func (s *Server) removeSocketDir() {
	if s.ownSocket {
		// An empty directory in the temporary folder does no harm.
		_ = os.RemoveAll(s.cfg.SocketDir)
	}
}

// Done is closed when the server process has ended, asked for or not.
func (s *Server) Done() <-chan struct{} { return s.proc.done }

// SocketDir is the directory of the unix socket: the host to connect to.
func (s *Server) SocketDir() string { return s.cfg.SocketDir }

// Port is the port in the unix socket's name and the TCP port.
func (s *Server) Port() int { return s.cfg.Port }

// BinDir is where the server's binaries stand: psql and pg_dump may too.
func (s *Server) BinDir() string { return s.cfg.BinDir }

// LogFile is the server's log.
func (s *Server) LogFile() string { return filepath.Join(s.cfg.DataDir, "server.log") }

// Chown gives files to the user that the server runs as, such as a private key
// that it must read. It does nothing where the server runs as our own user.
func (s *Server) Chown(paths ...string) error {
	if s.account.cred == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(s.account.cred.Uid), int(s.account.cred.Gid)); err != nil {
			return err
		}
	}
	return nil
}
