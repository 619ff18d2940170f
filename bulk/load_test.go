package bulk

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

const (
	native       = "COPY: copy t from stdin"
	continuation = `COPY: COPY "public"."t" ("a") FROM STDIN`
	first        = "SAVE; OPEN 1; INSERT 2; CLOSE"
	second       = "RELEASE; SAVE; OPEN 2; INSERT 2; CLOSE"
	third        = "RELEASE; SAVE; OPEN 3; INSERT 1; CLOSE"
	back         = "BACK; RELEASE"
	commit       = "RELEASE; COMMIT"
	recordOne    = "SAVE; RECORD; RELEASE"
)

func boom(code string) error { return pgerr.New(code, "boom") }

// loadCase is a load of five lines in three files, or of what data says.
type loadCase struct {
	name            string
	inBlock, later  bool
	setup           func(b *bed)
	data            string
	end             string // the frame's type; "" is CopyDone
	sess            []string
	rows            int64
	code            string // of the error for the client
	settle          string
	notified        int
	lost            bool
	fallback, where string
}

var loadCases = []loadCase{
	{
		name: "external", rows: 5, settle: "COMPLETED", notified: 3,
		sess: []string{first, second, third, commit},
	},
	{
		name: "in a block", inBlock: true, rows: 5, settle: "COMPLETED", notified: 3,
		sess: []string{first, second, third, "RELEASE; "},
	},
	{
		name: "committed later", later: true, rows: 5, settle: "COMPLETED", notified: 3,
		sess: []string{first, second, third, "RELEASE; "},
	},
	{
		name: "no rows", data: "-", rows: 0, settle: "COMPLETED", notified: 1,
		sess: []string{"SAVE; OPEN 1; INSERT 0; CLOSE", commit},
	},
	{
		name: "count of the first file", rows: 5, settle: "COMPLETED", fallback: "count",
		setup: rules(rule{match: "OPEN 1", rows: "1"}),
		sess: []string{
			first, back, native, "end c: " + string(lines(5)), "SAVE; RECORD; RECORD; RECORD; RELEASE", "COMMIT",
		},
	},
	{
		name: "count of the last file", rows: 5, settle: "COMPLETED", notified: 2, fallback: "count",
		setup: rules(rule{match: "OPEN 3", rows: "7"}),
		sess: []string{
			first, second, third, back, continuation, "end c: " + string(lines(5)[40:]), recordOne, "COMMIT",
		},
	},
	{
		name: "engine fails", rows: 5, settle: "COMPLETED", notified: 1, fallback: "engine",
		setup: rules(rule{match: "OPEN 2", at: 3, err: boom("38000")}),
		sess: []string{
			first, second, back, continuation, "end c: " + string(lines(5)[20:]), "SAVE; RECORD; RECORD; RELEASE", "COMMIT",
		},
	},
	{
		name: "engine has no plan", rows: 5, settle: "COMPLETED", fallback: "engine",
		setup: func(b *bed) {
			b.engineOf = always(fakeEngine{err: errors.New("unsupported")})
		},
		sess: []string{native, "end c: " + string(lines(5)), "SAVE; RECORD; RECORD; RECORD; RELEASE", "COMMIT"},
	},
	{
		name: "store fails", inBlock: true, rows: 5, settle: "COMPLETED", fallback: "store",
		setup: func(b *bed) { b.store.putErr = errors.New("down") },
		sess:  []string{native, "end c: " + string(lines(5)), "SAVE; RECORD; RECORD; RECORD; RELEASE"},
	},
	{
		name: "irregular data", data: "a\nb\r\n", rows: 2, settle: "COMPLETED", fallback: "irregular",
		sess: []string{native, "end c: a\nb\r\n", recordOne, "COMMIT"},
	},
	{
		name: "copy fails", end: "f", code: "57014", settle: "FAILED", notified: 2, fallback: "irregular",
		sess: []string{first, second, "RELEASE", continuation, "end f: " + string(lines(5)[40:]), "ROLLBACK"},
	},
	{
		name: "bad data", code: "22P02", settle: "FAILED", notified: 1, fallback: "engine", where: "COPY t, line 3, column a",
		setup: func(b *bed) {
			b.sess.rules = []rule{{match: "OPEN 2", at: 3, err: boom("22P02")}}
			b.sess.copyErr = pgerr.New("22P02", "bad").With('W', "COPY t, line 1, column a")
			b.sess.failAt = 5
		},
		sess: []string{first, second, back, continuation, "ROLLBACK"},
	},
	{
		name: "bad data in a block", inBlock: true, code: "22P02", settle: "FAILED", notified: 1, fallback: "engine", where: "COPY t, line 7",
		setup: func(b *bed) {
			b.sess.rules = []rule{{match: "OPEN 2", at: 3, err: boom("22P02")}}
			b.sess.copyErr = pgerr.New("22P02", "bad").With('W', "COPY t, line 5")
		},
		sess: []string{first, second, back, continuation, "end c: " + string(lines(5)[20:])},
	},
	{
		name: "csv goes on behind a header", rows: 4, settle: "COMPLETED", notified: 1, fallback: "engine",
		setup: func(b *bed) {
			b.spec.Statement.Format, b.spec.Statement.Delimiter, b.spec.Statement.Null = rewrite.FormatCSV, ',', ""
			b.spec.Statement.Quote, b.spec.Statement.Escape = '"', '"'
			b.sess.rules = []rule{{match: "OPEN 2", at: 3, err: boom("38000")}}
		},
		// Three of the fake server's lines in the COPY: the header is one.
		sess: []string{
			first, "RELEASE; SAVE; OPEN 2; INSERT 1; CLOSE", back, continuation + " WITH (FORMAT csv, HEADER)",
			"end c: \nline 0003\n", recordOne, "COMMIT",
		},
		data: string(lines(3)),
	},
	{
		name: "the savepoint fails", code: "53100", settle: "FAILED", notified: 1,
		setup: rules(rule{match: "OPEN 2", at: 1, err: boom("53100")}),
		sess:  []string{first, second, "ROLLBACK"},
	},
	{
		name: "the commit fails", code: "23503", settle: "FAILED", notified: 3,
		setup: rules(rule{match: "COMMIT", at: 1, err: boom("23503")}),
		sess:  []string{first, second, third, commit, "ROLLBACK"},
	},
	{
		name: "a cancel hits the release and the rollback", code: "57014", settle: "FAILED", notified: 3,
		setup: rules(rule{match: "COMMIT", at: 0, err: errUser}, rule{match: "ROLLBACK", err: errUser}),
		sess:  []string{first, second, third, commit, "ROLLBACK", "ROLLBACK"},
	},
	{
		name: "undoing fails", code: "57014", settle: "FAILED", notified: 1, fallback: "engine",
		setup: rules(rule{match: "OPEN 2", at: 3, err: boom("38000")}, rule{match: "BACK", err: errUser}),
		sess:  []string{first, second, back, "ROLLBACK"},
	},
	{
		name: "the native copy is refused", inBlock: true, code: "42501", settle: "FAILED", fallback: "engine",
		setup: rules(rule{match: "OPEN 1", at: 2, err: boom("42501")}, rule{match: "COPY:", err: boom("42501")}),
		sess:  []string{first, back, native},
	},
	{
		name: "the ledger's rows fail", rows: 5, settle: "COMPLETED", fallback: "engine",
		setup: rules(rule{match: "OPEN 1", at: 2, err: boom("38000")}, rule{match: "RECORD", at: 1, err: boom("42501")}),
		sess: []string{
			first, back, native, "end c: " + string(lines(5)), "SAVE; RECORD; RECORD; RECORD; RELEASE", back, "COMMIT",
		},
	},
	{
		name: "plain", rows: 5, settle: "COMPLETED",
		setup: func(b *bed) { b.spec.Decision.Method = rewrite.MethodCopy },
		sess:  []string{native, "end c: " + string(lines(5)), "SAVE; RECORD; RECORD; RECORD; RELEASE", "COMMIT"},
	},
	{
		name: "plain, refused", code: "42501", settle: "FAILED",
		setup: func(b *bed) {
			b.spec.Decision.Method = rewrite.MethodCopy
			b.sess.rules = []rule{{match: "COPY:", err: boom("42501")}}
		},
		sess: []string{native, "ROLLBACK"},
	},
	{
		name: "the connection is lost", lost: true, settle: "FAILED", notified: 1,
		setup: rules(rule{match: "OPEN 2", at: 3, err: errLost}),
		sess:  []string{first, second},
	},
}

func rules(r ...rule) func(*bed) { return func(b *bed) { b.sess.rules = r } }

func TestLoad(t *testing.T) {
	t.Parallel()
	for _, c := range loadCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

func (c loadCase) run(t *testing.T) {
	b := newBed(t)
	b.spec.InBlock, b.spec.CommitLater = c.inBlock, c.later
	if c.setup != nil {
		c.setup(b)
	}
	ld := b.begin(t)
	data := lines(5)
	if c.data != "" {
		data = []byte(strings.TrimPrefix(c.data, "-"))
	}
	rows, err := c.load(t, ld, data)
	if ld.Pending() {
		ld.Settle()
	}
	b.end(t)
	b.want(t, c.sess...)
	e := pgerr.As(err)
	switch {
	case c.lost:
		if !errors.Is(err, errLost) {
			t.Errorf("the connection's end became %v", err)
		}
	case c.code == "" && (err != nil || rows != c.rows):
		t.Errorf("%d rows, %v", rows, err)
	case c.code != "" && (e == nil || e.Code() != c.code || e.Get('W') != c.where):
		t.Errorf("error %v, %q", err, e.Get('W'))
	}
	if b.sess.notified != c.notified || string(ld.run.fallback) != c.fallback {
		t.Errorf("%d notices, fallback %q", b.sess.notified, ld.run.fallback)
	}
	calls := strings.Join(b.ledger.calls, ", ")
	if !strings.HasPrefix(calls, "begin") || !strings.Contains(calls, "settle "+c.settle) {
		t.Errorf("the ledger was told: %s", calls)
	}
}

// load writes the data, and ends the load as the session does.
func (c loadCase) load(t *testing.T, ld *Load, data []byte) (int64, error) {
	for len(data) > 0 {
		n := min(len(data), 7)
		if err := ld.Write(data[:n]); err != nil {
			return 0, ld.Fail(t.Context(), err)
		}
		data = data[n:]
	}
	end := CopyDone()
	if c.end != "" {
		end = Frame{Type: c.end[0]}
	}
	return ld.Finish(context.Background(), end)
}
