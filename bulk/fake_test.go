package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// fakeEngine plans three words; the insert says how many rows the file has.
type fakeEngine struct{ err error }

// always is an engine for all databases.
func always(e engine.Engine) func(context.Context, string, bool) engine.Engine {
	return func(context.Context, string, bool) engine.Engine { return e }
}

func (fakeEngine) Name() string { return "fake" }

func (fakeEngine) Caps() engine.Caps {
	return engine.Caps{External: true, InstallNeeded: true, Transactional: true, InSession: true, Ordered: true, TagIsExact: true,
		Formats: []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV, rewrite.FormatBinary}}
}

func (e fakeEngine) Plan(_ engine.Target, _ *rewrite.CopyStatement, _ engine.Session, g engine.Group, _ []byte, _ time.Time) (engine.Plan, error) {
	f := g.Files[0]
	return engine.Plan{Open: fmt.Sprintf("OPEN %d", f.Number), Insert: fmt.Sprintf("INSERT %d", f.Records), Close: "CLOSE"}, e.err
}

// fakeSession is a session whose server does as its script says. Its log has a
// line for each call.
type fakeSession struct {
	mu       sync.Mutex
	log      []string
	rules    []rule
	cancels  chan struct{}
	notified int
	copyErr  *pgerr.Error // what a COPY says to its data, or to its end
	failAt   int          // after so many bytes of data; 0 is at the end
	copied   bytes.Buffer
	onExec   func(sql string)
	onEnd    func() // when a COPY has ended well
}

// rule answers the first Exec whose text contains match, once: it may wait for
// a cancel first, behind which none comes for so long as quiet is, then fails at
// statement number at with err, or gives another count of rows.
type rule struct {
	match string
	wait  bool
	quiet time.Duration
	at    int
	err   error
	rows  string
}

var (
	recordText = regexp.MustCompile(`SELECT pgbulk\.record_import\((?:[^']|'[^']*')*?\)`)
	savepoints = strings.NewReplacer("ROLLBACK TO SAVEPOINT pgbulkproxy", "BACK", "RELEASE SAVEPOINT pgbulkproxy", "RELEASE", "SAVEPOINT pgbulkproxy", "SAVE")
)

func (s *fakeSession) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.log); line == "cancel" && n > 0 && s.log[n-1] == line {
		return // a cancel may be sent twice: as it comes, and when a COPY begins
	}
	s.log = append(s.log, line)
}

func (s *fakeSession) history() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "\n")
}

func (s *fakeSession) rule(sql string) *rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.rules {
		if strings.Contains(sql, r.match) {
			s.rules = append(s.rules[:i:i], s.rules[i+1:]...)
			return &r
		}
	}
	return nil
}

// Exec implements Session.
func (s *fakeSession) Exec(ctx context.Context, sql string) ([]Result, error) {
	sql = savepoints.Replace(recordText.ReplaceAllString(sql, "RECORD"))
	s.note(sql)
	if s.onExec != nil {
		s.onExec(sql)
	}
	r := s.rule(sql)
	if r != nil && r.wait {
		if err := s.await(ctx, r.quiet); err != nil {
			return nil, err
		}
	}
	var results []Result
	for i, one := range strings.Split(strings.TrimSuffix(sql, "; "), "; ") {
		if r != nil && r.err != nil && i == r.at {
			return results, r.err
		}
		tag := one
		if n, ok := strings.CutPrefix(one, "INSERT "); ok {
			if r != nil && r.rows != "" {
				n = r.rows
			}
			tag = "INSERT 0 " + n
		}
		var rows [][][]byte
		if n, ok := strings.CutPrefix(one, "ANSWER "); ok {
			if r != nil && r.rows != "" {
				n = r.rows
			}
			rows = [][][]byte{{[]byte(n)}}
		}
		results = append(results, Result{Tag: tag, Rows: rows, Notices: [][]byte{{1}}})
	}
	return results, nil
}

// await returns when a cancel has come, and then none for so long.
func (s *fakeSession) await(ctx context.Context, quiet time.Duration) error {
	var heard <-chan time.Time
	for {
		select {
		case <-s.cancels:
			heard = time.After(quiet)
		case <-heard:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// StartCopy implements Session.
func (s *fakeSession) StartCopy(_ context.Context, sql string) (Copy, error) {
	s.note("COPY: " + sql)
	if r := s.rule("COPY:"); r != nil && r.err != nil {
		return nil, r.err
	}
	return &fakeCopy{s}, nil
}

// Notify implements Session.
func (s *fakeSession) Notify(n [][]byte) error { s.notified += len(n); return nil }

// Cancel implements Session.
func (s *fakeSession) Cancel() {
	s.note("cancel")
	select {
	case s.cancels <- struct{}{}:
	default:
	}
}

type fakeCopy struct{ s *fakeSession }

// Write implements Copy.
func (c *fakeCopy) Write(p []byte) error {
	s := c.s
	s.copied.Write(p)
	if s.copyErr != nil && s.failAt > 0 && s.copied.Len() >= s.failAt {
		return s.copyErr
	}
	select {
	case <-s.cancels:
		return errUser
	default:
		return nil
	}
}

// End implements Copy. A COPY counts lines as rows.
func (c *fakeCopy) End(_ context.Context, end Frame) (int64, error) {
	c.s.note(fmt.Sprintf("end %c: %s", end.Type, c.s.copied.String()))
	select {
	case <-c.s.cancels:
		return 0, errUser
	default:
	}
	if c.s.copyErr != nil {
		return 0, c.s.copyErr
	}
	if end.Type != 'c' {
		return 0, pgerr.New(pgerr.QueryCanceled, "COPY from stdin failed")
	}
	if c.s.onEnd != nil {
		c.s.onEnd()
	}
	return int64(bytes.Count(c.s.copied.Bytes(), []byte("\n"))), nil
}

var (
	errUser = pgerr.New(pgerr.QueryCanceled, "canceling statement due to user request")
	errLost = errors.New("connection is gone")
)

// fakeLedger notes how loads end.
type fakeLedger struct {
	checkpoint.Ledger
	mu    sync.Mutex
	calls []string
}

func (l *fakeLedger) add(call string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, call)
	return nil
}

func (l *fakeLedger) Begin(context.Context, checkpoint.Load) error { return l.add("begin") }

func (l *fakeLedger) Create(context.Context, checkpoint.File) error { return nil }

func (l *fakeLedger) Freeze(_ context.Context, f checkpoint.File) error {
	return l.add("freeze")
}

func (l *fakeLedger) Settle(_ context.Context, o checkpoint.Outcome) (checkpoint.Status, error) {
	return o.Status, l.add("settle " + string(o.Status))
}

func (l *fakeLedger) MarkSwept(context.Context, ...string) error { return l.add("swept") }

// Lookup implements Databases.
func (l *fakeLedger) Lookup(context.Context, string, bool) (*Database, rewrite.Reason) {
	return &Database{Ledger: l, Key: make([]byte, sealed.KeySize)}, rewrite.ReasonNone
}

// bed is a loader over fakes.
type bed struct {
	*Loader
	sess   *fakeSession
	store  *keep
	ledger *fakeLedger
	spec   Spec
	failed chan *pgerr.Error // interrupts
}

const bedMemory = 64 << 20

// newBed returns a loader whose files are cut at every second line of ten bytes.
func newBed(t *testing.T) *bed {
	b := &bed{
		sess:  &fakeSession{cancels: make(chan struct{}, 1)},
		store: newKeep(), ledger: &fakeLedger{}, failed: make(chan *pgerr.Error, 1),
	}
	b.Loader = NewLoader(Config{FileBytes: 20, Ahead: 10}, Deps{
		Store: b.store, URLs: b.store, Engine: fakeEngine{}, Databases: b.ledger,
		Memory: NewMemory(bedMemory, false, ""), Sweeper: NewSweeper(b.store, 0, time.Minute, nil, quiet()), Log: quiet(),
	})
	b.spec = Spec{
		Statement: &rewrite.CopyStatement{
			SQL: "copy t from stdin", Table: "t", Format: rewrite.FormatText, Delimiter: '\t', Null: `\N`,
		},
		Inspection: &rewrite.Inspection{Found: true, OID: 99999, Schema: "public", Table: "t", Columns: []string{"a"}},
		Decision:   rewrite.Decision{Way: rewrite.Stage, Method: rewrite.MethodExternal},
		Started:    time.Now(),
		Interrupt:  func(e *pgerr.Error) { b.failed <- e },
	}
	return b
}

// begin starts the load.
func (b *bed) begin(t *testing.T) *Load {
	t.Helper()
	ld, err := b.Begin(t.Context(), b.spec, b.sess)
	if err != nil {
		t.Fatal(err)
	}
	return ld
}

// writeLines writes n lines of ten bytes, each by itself, until that fails.
func (ld *Load) writeLines(n int) error {
	p := lines(n)
	for len(p) > 0 {
		if err := ld.Write(p[:10]); err != nil {
			return err
		}
		p = p[10:]
	}
	return nil
}

// lines are n lines of ten bytes.
func lines(n int) []byte {
	var p []byte
	for i := range n {
		p = fmt.Appendf(p, "line %04d\n", i+1)
	}
	return p
}

// end waits for the books and checks that nothing is left behind.
func (b *bed) end(t *testing.T) {
	t.Helper()
	b.Close()
	b.sweeper.Flush(t.Context())
	if b.mem.left != bedMemory {
		t.Errorf("%d bytes of the budget are gone", bedMemory-b.mem.left)
	}
	if len(b.store.objects) > 0 {
		t.Errorf("%d files are left in the store", len(b.store.objects))
	}
}

// want compares what ran on the session.
func (b *bed) want(t *testing.T, lines ...string) {
	t.Helper()
	if got, want := b.sess.history(), strings.Join(lines, "\n"); got != want {
		t.Errorf("on the session ran\n%s\nnot\n%s", got, want)
	}
}
