package check

import (
	"context"
	"errors"
	"time"
)

// DB is the session of the service connection.
type DB interface {
	// Query runs one or more statements by the simple protocol and returns the rows
	// of the last that has any; NULL is "". A server's error has SQLState.
	Query(ctx context.Context, sql string) ([][]string, error)
}

// Store is what is tried of the object store: store.Bucket has it.
type Store interface {
	// PutText makes a small object.
	PutText(ctx context.Context, key, text string) error
	// GetText reads it back.
	GetText(ctx context.Context, key string) (string, error)
	// List counts the objects under a prefix, and asks for unfinished uploads.
	List(ctx context.Context, prefix string) (objects int, err error)
	// Delete removes an object.
	Delete(ctx context.Context, key string) error
	// Presign returns a URL that reads the object for ttl. It is a secret.
	Presign(ctx context.Context, key string, ttl time.Duration) (string, error)
	// Code is the store's own word for an error, such as InvalidAccessKeyId, or "".
	Code(err error) string
}

// Fetch gets a URL as a program without credentials does. The clock is the
// server's own, zero where it told none.
type Fetch func(ctx context.Context, url string) (status int, body string, clock time.Time, err error)

// Session is what a check needs to know of the service connection.
type Session struct {
	Database, Role string
	PID            uint32
}

// Limits are what the process may take, and what it was told to.
type Limits struct {
	// MemoryBytes is stage.memory_bytes, MemoryFree what the machine or container
	// still has; 0 where that is not known.
	MemoryBytes, MemoryFree int64
	// Files is how many may be open; 0: not known.
	Files uint64
	// MaxSessions is max_sessions, 0 without a limit.
	MaxSessions int
	// SpoolDir is where files go for what memory does not hold; "" where they are
	// off. SpoolFree is what is free there, SpoolErr why none can be made.
	SpoolDir  string
	SpoolFree int64
	SpoolErr  error
}

// Env is what the checks look at. What one check has found others use.
type Env struct {
	// Configured is the setting engine; Engine the one in effect.
	Configured, Engine string
	// Why is why Engine was chosen; Untested that it never ran on a real server.
	Why      string
	Untested bool
	// Detected is the engine that the server looks like.
	Detected string
	// Choose fills these fields in, once the facts are known.
	Choose func(Facts)

	// Open opens the service connection; nil where service_dsn is empty.
	Open func(ctx context.Context) (DB, Session, error)
	// DB and Session are set once Open has succeeded.
	DB      DB
	Session Session
	// Facts are read over DB.
	Facts Facts

	// Dial tries the address of upstream, Upstream.
	Upstream string
	Dial     func(ctx context.Context) error

	// OpenStore opens the store, once; StoreURL names it without secrets, StoreEndpoint
	// is the URL of its server.
	OpenStore     func(ctx context.Context) (Store, error)
	StoreURL      string
	StoreEndpoint string
	Store         Store
	Fetch         Fetch
	// Key is where an object may be put; URLTTL the life of pre-signed URLs.
	Key    string
	URLTTL time.Duration

	// InstallVersion is that of this program; CheckLedger the ledger's own check.
	InstallVersion int
	CheckLedger    func(ctx context.Context) error
	// Role is the role of clients whose privileges are looked at; "" is none.
	Role string
	// Reader is the setting greenplum.reader. Listen is the address at which segments
	// fetch from the proxy by it, as they see it; "" where they do not.
	Reader, Listen string

	Limits Limits
	// Now is the proxy's clock.
	Now func() time.Time
}

// Text runs SQL that returns one value.
func (e *Env) Text(ctx context.Context, sql string) (string, error) {
	rows, err := e.DB.Query(ctx, sql)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return "", errors.New("the server returned no row")
	}
	return rows[0][0], nil
}

// True runs SQL that returns one boolean.
func (e *Env) True(ctx context.Context, sql string) (bool, error) {
	text, err := e.Text(ctx, sql)
	return text == "t", err
}

// Undone runs statements in a transaction that is rolled back, and returns the one
// value of the last of them. It bounds them, since a cancel would lose the session.
func (e *Env) Undone(ctx context.Context, sql string) (string, error) {
	text, err := e.Text(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = '20s'; "+sql)
	_, undo := e.DB.Query(ctx, "ROLLBACK")
	return text, errors.Join(err, undo)
}

// State is the SQLSTATE of a server's error, or "".
func State(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// Detail is the DETAIL of a server's error, or "".
func Detail(err error) string {
	var d interface{ Detail() string }
	if errors.As(err, &d) {
		return d.Detail()
	}
	return ""
}
