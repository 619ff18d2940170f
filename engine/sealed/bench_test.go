package sealed_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

const benchRows = 200_000

// BenchmarkLoad compares the ways of one file of 200,000 rows of 7 columns into
// the table: by COPY on the session, and by the external table over S3. An empty
// file shows what the external table itself costs.
func BenchmarkLoad(b *testing.B) {
	pg, db, key := installed(b, "")
	conn := pg.Connect(b, db, "postgres")
	mustExec(b, conn, fmt.Sprintf(`CREATE TABLE src (id int, a int, n numeric(12,2), f float8, ts timestamptz, name text, note text);
		INSERT INTO src SELECT i, i %% 1000, i / 7.0, i * 0.5, now() + i * interval '1 s', 'name ' || i, repeat('x', 40) FROM generate_series(1, %d) i;
		CREATE TABLE t (LIKE src)`, benchRows))
	var oid uint32
	if err := conn.QueryRow(b.Context(), "SELECT 't'::regclass::oid").Scan(&oid); err != nil {
		b.Fatal(err)
	}
	target := engine.Target{Schema: "public", Table: "t", OID: oid, Columns: []string{"id", "a", "n", "f", "ts", "name", "note"}}
	for _, format := range []rewrite.Format{rewrite.FormatText, rewrite.FormatBinary} {
		var data bytes.Buffer
		if _, err := conn.PgConn().CopyTo(b.Context(), &data, "COPY src TO STDOUT (FORMAT "+string(format)+")"); err != nil {
			b.Fatal(err)
		}
		b.Run("copy/"+string(format), func(b *testing.B) {
			b.SetBytes(int64(data.Len()))
			for b.Loop() {
				if _, err := conn.PgConn().CopyFrom(b.Context(), bytes.NewReader(data.Bytes()), "COPY t FROM STDIN (FORMAT "+string(format)+")"); err != nil {
					b.Fatal(err)
				}
				empty(b, conn, benchRows)
			}
		})
		stmt := rewrite.CopyStatement{Format: format}
		if format == rewrite.FormatText {
			stmt.Null = `\N`
		}
		b.Run("external/"+string(format), func(b *testing.B) {
			benchExternal(b, conn, db, target, &stmt, key, data.Bytes(), benchRows)
		})
	}
	stmt := rewrite.CopyStatement{Format: rewrite.FormatText, Null: `\N`}
	b.Run("external/empty", func(b *testing.B) { benchExternal(b, conn, db, target, &stmt, key, nil, 0) })
	b.Run("open and close", func(b *testing.B) {
		benchPlans(b, conn, db, target, &stmt, key, nil, func(p engine.Plan) { mustExec(b, conn, p.Open+"; "+p.Close) })
	})
}

// empty checks the count and empties the table, off the clock.
func empty(b *testing.B, conn *pgx.Conn, want int) {
	b.StopTimer()
	defer b.StartTimer()
	var n int
	if err := conn.QueryRow(b.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != want {
		b.Fatalf("%d rows, %v", n, err)
	}
	mustExec(b, conn, "TRUNCATE t")
}

func benchExternal(b *testing.B, conn *pgx.Conn, db string, target engine.Target, stmt *rewrite.CopyStatement, key, data []byte, rows int) {
	b.SetBytes(int64(len(data)))
	benchPlans(b, conn, db, target, stmt, key, data, func(p engine.Plan) {
		mustExec(b, conn, p.SQL())
		empty(b, conn, rows)
	})
}

// benchPlans stages data once and runs one plan after the other over it.
func benchPlans(b *testing.B, conn *pgx.Conn, db string, target engine.Target, stmt *rewrite.CopyStatement, key, data []byte, run func(engine.Plan)) {
	s3 := testenv.S3(b)
	object := s3.Prefix(b) + "1"
	if err := s3.Store(b).Put(b.Context(), object, bytes.NewReader(data)); err != nil {
		b.Fatal(err)
	}
	session := engine.Session{Database: db, BackendPID: conn.PgConn().PID(), Role: "postgres"}
	for b.Loop() {
		url, err := s3.Store(b).PresignGet(b.Context(), object, time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		file := engine.File{ProcessID: uuid.NewString(), Number: 1, URL: url, First: true}
		plan, err := postgres.New().Plan(target, stmt, session, engine.Group{Files: []engine.File{file}}, key, time.Now().Add(time.Minute))
		if err != nil {
			b.Fatal(err)
		}
		run(plan)
	}
}
