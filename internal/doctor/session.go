package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
)

// connectTimeout bounds one attempt: a firewall that drops packets says nothing.
const connectTimeout = 10 * time.Second

// session is the service connection. Not for concurrent use.
type session struct{ conn *pgx.Conn }

// connect opens the session of a DSN. Its errors never repeat the DSN, which may
// hold a password.
func connect(ctx context.Context, dsn, database string) (*session, check.Session, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, check.Session{}, errors.New("service_dsn is not a DSN (postgres://user@host/db or host=… user=… dbname=…)")
	}
	if database != "" {
		cfg.Database = database
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is prepared: there may be a pooler in between
	cfg.RuntimeParams["application_name"] = "pgbulkproxy doctor"
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, check.Session{}, known(err)
	}
	s := &session{conn}
	rows, err := s.Query(ctx, "SELECT pg_catalog.current_database(), current_user")
	if err == nil && len(rows) != 1 {
		err = errors.New("the server does not say who we are")
	}
	if err != nil {
		s.close(ctx)
		return nil, check.Session{}, err
	}
	return s, check.Session{Database: rows[0][0], Role: rows[0][1], PID: conn.PgConn().PID()}, nil
}

// Query implements check.DB.
func (s *session) Query(ctx context.Context, sql string) ([][]string, error) {
	results, err := s.conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, known(err)
	}
	var rows [][]string
	for _, r := range results {
		if len(r.FieldDescriptions) == 0 {
			continue
		}
		rows = nil
		for _, raw := range r.Rows {
			row := make([]string, len(raw))
			for i, cell := range raw {
				row[i] = string(cell)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (s *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // nothing is lost by it: all was read
}

// serverError is what a server said, fit for a report.
type serverError struct{ message, state, detail string }

func (e *serverError) Error() string    { return fmt.Sprintf("%s (SQLSTATE %s)", e.message, e.state) }
func (e *serverError) SQLState() string { return e.state }
func (e *serverError) Detail() string   { return e.detail }

// known takes the secrets out of a server's error.
func known(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return &serverError{engine.MaskURL(e.Message), e.Code, engine.MaskURL(e.Detail)}
	}
	return err
}
