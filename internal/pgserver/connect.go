package pgserver

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
)

// arguments are the server's, in an order that does not change.
func (s *Server) arguments(hba string) []string {
	listen := ""
	if s.cfg.ListenTCP {
		listen = "127.0.0.1"
	}
	args := []string{"-D", s.cfg.DataDir, "-p", fmt.Sprint(s.cfg.Port), "-k", s.cfg.SocketDir,
		"-c", "listen_addresses=" + listen, "-c", "hba_file=" + hba}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Settings)) {
		args = append(args, "-c", name+"="+s.cfg.Settings[name])
	}
	return args
}

// hba is the whole pg_hba file.
func (s *Server) hba() string {
	lines := []string{"local postgres " + Superuser + " trust"}
	lines = append(lines, s.cfg.HBA...)
	lines = append(lines,
		"local all all trust", "local replication all trust",
		"host all all 127.0.0.1/32 "+s.cfg.TCPAuth, "host replication all 127.0.0.1/32 "+s.cfg.TCPAuth)
	return strings.Join(lines, "\n") + "\n"
}

// writeNew replaces a file. It never opens what is there: the directory belongs
// to the server's user, and following a link of its making as root would let it
// write anywhere.
func writeNew(path, content string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}

// DSN returns a connection string for the unix socket.
func (s *Server) DSN(database, user string) string {
	return dsn(s.cfg.SocketDir, s.cfg.Port, database, user)
}

// TCPDSN returns a connection string for 127.0.0.1, of use with ListenTCP.
func (s *Server) TCPDSN(database, user string) string {
	return dsn("127.0.0.1", s.cfg.Port, database, user)
}

func dsn(host string, port int, database, user string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return fmt.Sprintf("host='%s' port=%d dbname='%s' user='%s' sslmode=disable",
		quote.Replace(host), port, quote.Replace(database), quote.Replace(user))
}

// freePort asks the kernel for a TCP port that nobody listens on right now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
