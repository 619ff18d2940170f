package pgtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// errTimeout is reported when a message was awaited in vain.
var errTimeout = errors.New("timeout")

// Client is a frontend that sends whatever it is told to, in whatever order,
// and keeps every message of the backend. One goroutine reads from the
// connection until it ends; so the backend is never blocked by a script that
// does not read yet. Close waits for that goroutine.
type Client struct {
	conn   net.Conn
	config *pgconn.Config
	pid    uint32
	secret []byte
	// Startup holds the parameters the backend reported while connecting, as
	// sorted "name=value" lines.
	Startup []string

	mu    sync.Mutex
	inbox []Message
	err   error
	wake  chan struct{}
	done  chan struct{}
}

// Dial connects with the given connection string. overrides are startup
// parameters; "user", "password" and "database" replace those of the string.
func Dial(ctx context.Context, dsn string, overrides map[string]string) (*Client, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse connection string: %w", err)
	}
	for name, value := range overrides {
		switch name {
		case "user":
			config.User = value
		case "password":
			config.Password = value
		case "database":
			config.Database = value
		default:
			config.RuntimeParams[name] = value
		}
	}
	// While connecting, pgconn may have begun to read in the background: it does
	// where a write is slow. Only its own reader then has all bytes.
	var source io.Reader
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		source = r
		return pgproto3.NewFrontend(r, w)
	}
	session, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	hijacked, err := session.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	client := &Client{
		conn:   hijacked.Conn,
		config: config,
		pid:    hijacked.PID,
		secret: hijacked.SecretKey,
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	for _, name := range slices.Sorted(maps.Keys(hijacked.ParameterStatuses)) {
		client.Startup = append(client.Startup, name+"="+hijacked.ParameterStatuses[name])
	}
	go client.read(source)
	return client, nil
}

// PID is the process id that the backend announced.
func (c *Client) PID() uint32 { return c.pid }

// Send writes the chunks. A peer that is gone is no error here: what matters
// is what it said before, and that is read by Next.
func (c *Client) Send(ctx context.Context, chunks [][]byte) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.conn.SetWriteDeadline(deadline); err != nil {
			return nil
		}
	}
	for _, chunk := range chunks {
		if _, err := c.conn.Write(chunk); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return errTimeout
			}
			return nil
		}
	}
	return nil
}

// Next returns the next message. It returns io.EOF after the last message of
// a connection that has ended, in whatever way.
func (c *Client) Next(ctx context.Context) (Message, error) {
	for {
		c.mu.Lock()
		if len(c.inbox) > 0 {
			message := c.inbox[0]
			c.inbox = c.inbox[1:]
			c.mu.Unlock()
			return message, nil
		}
		err := c.err
		c.mu.Unlock()
		if err != nil {
			return Message{}, err
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return Message{}, errTimeout
		}
	}
}

// Cancel sends a cancel request for this session on a connection of its own
// and returns when the peer has closed it, which it does after the signal.
func (c *Client) Cancel(ctx context.Context) error {
	network, address := pgconn.NetworkAddress(c.config.Host, c.config.Port)
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return fmt.Errorf("dial for cancel: %w", err)
	}
	defer func() { _ = conn.Close() }()
	request := binary.BigEndian.AppendUint32(nil, uint32(12+len(c.secret)))
	request = binary.BigEndian.AppendUint32(request, 80877102)
	request = binary.BigEndian.AppendUint32(request, c.pid)
	request = append(request, c.secret...)
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("send cancel: %w", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return fmt.Errorf("set cancel deadline: %w", err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("await end of cancel: %w", err)
	}
	return nil
}

// Close cuts the connection and waits for the reader.
func (c *Client) Close() {
	_ = c.conn.Close()
	<-c.done
}

func (c *Client) read(source io.Reader) {
	defer close(c.done)
	reader := bufio.NewReaderSize(source, 1<<16)
	for {
		message, err := readMessage(reader)
		c.mu.Lock()
		if err != nil {
			c.err = io.EOF
		} else {
			c.inbox = append(c.inbox, message)
		}
		c.mu.Unlock()
		select {
		case c.wake <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}
