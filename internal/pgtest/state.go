package pgtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// shownRows is the number of rows up to which a table is written out; a larger
// one is compared by count and digest.
const shownRows = 30

// pollEvery is how often the server is asked for something that has to happen.
const pollEvery = 5 * time.Millisecond

// LockWait is how scripts ask whether a session waits for a lock.
const LockWait = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

// The schemas that the proxy may use for itself are no part of the state.
const userSchemas = `nspname NOT IN ('pg_catalog', 'information_schema', 'pgbulk', 'relyt_sys', 'gp_toolkit', 'citus', 'citus_internal', 'columnar', 'columnar_internal') AND nspname !~ '^pg_'`

const listObjects = `SELECT c.relkind, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind IN ('r', 'm')
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE ` + userSchemas + ` ORDER BY 2`

// listRest shows what a load could leave behind outside pg_class.
const listRest = `SELECT 'prepared', gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()
	UNION ALL SELECT 'server', srvname::text FROM pg_catalog.pg_foreign_server WHERE srvname !~ '^pgbulk'
	UNION ALL SELECT 'function', p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc p
		JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE ` + userSchemas + `
	UNION ALL ` + listLocks + `
	ORDER BY 1, 2`

const listLocks = `SELECT 'lock', relation::pg_catalog.regclass::text FROM pg_catalog.pg_locks l
		JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE l.locktype = 'relation' AND l.pid <> pg_catalog.pg_backend_pid()
		AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
		AND l.virtualtransaction !~ '^-1/' AND ` + userSchemas

// dropSchemas empties the database between two cases.
const dropSchemas = `SET lock_timeout = '10s';
DO $do$
DECLARE s pg_catalog.name;
BEGIN
	FOR s IN SELECT nspname FROM pg_catalog.pg_namespace WHERE ` + userSchemas + ` LOOP
		EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', s);
	END LOOP;
END $do$;
RESET lock_timeout;
CREATE SCHEMA public;
GRANT ALL ON SCHEMA public TO PUBLIC;
`

// listPrepared yields the statements that end transactions a failed case left
// prepared; they would hold their locks for ever.
const listPrepared = `SELECT pg_catalog.format('ROLLBACK PREPARED %L', gid)
	FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()`

func (s *side) reset(ctx context.Context, setup string) error {
	prepared, err := s.admin.PgConn().Exec(ctx, listPrepared).ReadAll()
	if err != nil {
		return fmt.Errorf("list prepared transactions: %w", err)
	}
	for _, row := range prepared[0].Rows {
		if _, err := s.admin.PgConn().Exec(ctx, string(row[0])).ReadAll(); err != nil {
			return fmt.Errorf("roll back prepared transaction: %w", err)
		}
	}
	quiet := "SET client_min_messages = warning;\n"
	if s.before != nil {
		if err := s.before(ctx, s.admin); err != nil {
			return fmt.Errorf("empty database: %w", err)
		}
	}
	if _, err := s.admin.PgConn().Exec(ctx, quiet+dropSchemas+s.expand(setup)).ReadAll(); err != nil {
		return fmt.Errorf("set up database: %w", err)
	}
	if s.after != nil {
		if err := s.after(ctx, s.admin); err != nil {
			return fmt.Errorf("behind the setup: %w", err)
		}
	}
	return s.makePairs(ctx)
}

// addState waits for the sessions to end and adds what they left behind.
func (s *side) addState(ctx context.Context, kind string) error {
	s.note("-- state")
	gone := fmt.Sprintf(`SELECT count(*) = 0 FROM pg_catalog.pg_stat_activity
		WHERE datname = current_database() AND application_name = '%s'`, applicationName)
	if err := s.wait(ctx, gone); err != nil || kind == "off" {
		return err
	}
	if s.distributed { // the nodes' part of a session ends later than the session
		if err := s.wait(ctx, "SELECT count(*) = 0 FROM ("+listLocks+") AS held"); err != nil {
			return err
		}
	}
	results, err := s.admin.PgConn().Exec(ctx, listObjects).ReadAll()
	if err != nil {
		return fmt.Errorf("list objects: %w", err)
	}
	for _, object := range results[0].Rows {
		relkind, name := string(object[0]), string(object[1])
		if s.pairs != nil && strings.Contains(name, s.pairs.Suffix) {
			continue
		}
		s.note("%s %s", relkind, name)
		switch {
		case string(object[2]) == "t":
			err = s.addTable(ctx, name)
		case relkind == "S" && kind == "seq":
			err = s.check(ctx, "SELECT last_value, is_called FROM "+name)
		}
		if err != nil {
			return fmt.Errorf("state of %s: %w", name, err)
		}
	}
	return s.check(ctx, listRest)
}

func (s *side) addTable(ctx context.Context, name string) error {
	rows, err := s.rowsOf(ctx, name)
	if err != nil {
		return err
	}
	digest := `SELECT count(*), md5(string_agg("whole row"::text, chr(10) ORDER BY "whole row"::text COLLATE "C"))
		FROM ` + rows + ` AS "whole row"`
	if err := s.check(ctx, digest); err != nil {
		return err
	}
	return s.check(ctx, fmt.Sprintf(`SELECT "whole row"::text FROM %s AS "whole row"
		WHERE (SELECT count(*) FROM %s AS every) <= %d ORDER BY "whole row"::text COLLATE "C"`, rows, rows, shownRows))
}

// check runs SQL on the server. An error of the SQL is part of the transcript:
// it must be the same on both sides.
func (s *side) check(ctx context.Context, sql string) error {
	results, err := s.admin.PgConn().Exec(ctx, sql).ReadAll()
	var failed *pgconn.PgError
	switch {
	case asPgError(err, &failed):
		s.note("error %s: %s", failed.Code, failed.Message)
		return nil
	case err != nil:
		return err
	}
	for _, result := range results {
		for _, row := range result.Rows {
			values := make([]string, 0, len(row))
			for _, field := range row {
				values = append(values, value(field))
			}
			s.note("| %s", strings.Join(values, " "))
		}
	}
	return nil
}

// wait asks the server until the first column is true.
func (s *side) wait(ctx context.Context, sql string) error {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		results, err := s.admin.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			return err
		}
		if n := len(results); n > 0 && len(results[n-1].Rows) > 0 && string(results[n-1].Rows[0][0]) == "t" {
			return nil
		}
		select {
		case <-ticker.C:
		case <-limited.Done():
			s.stuck = true
			s.note("WAIT TIMEOUT: %s", sql)
			return ctx.Err()
		}
	}
}
