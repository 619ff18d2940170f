package bulk

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// withAccess is an engine whose plans hold credentials.
func withAccess(c *engine.Caps) { c.Access, c.InstallNeeded = true, false }

func temporary(context.Context) (store.Config, error) {
	return store.Config{Endpoint: "http://host:1/", Region: "r", AccessKey: "AKIA0123456789", SecretKey: "s3cr3t/s3cr3t+", SessionToken: "t0k3nt0k3n=="}, nil
}

// TestGroupAccess: each plan has the credentials of the moment, behind a savepoint that
// is there already, and what reads the rows is not in one text with them.
func TestGroupAccess(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	twos(groupEngine{change: withAccess})(b)
	asked := 0
	b.access = func(ctx context.Context) (store.Config, error) { asked++; return temporary(ctx) }
	ld := b.begin(t)
	rows, err := loadCase{}.load(t, ld, lines(5))
	b.end(t)
	if rows != 5 || err != nil || asked != 2 {
		t.Errorf("%d rows, %v, asked %d times", rows, err, asked)
	}
	const at = " at host:1 r accessid=AKIA0123456789 secret=s3cr3t/s3cr3t+ token=t0k3nt0k3n=="
	b.want(t, askTwo, "SAVE; ", `OPEN 1 2 in 0001/ "\n"`+at, "INSERT 4; CLOSE", "RELEASE; SAVE; ", `OPEN 3 in 0002/ "\n"`+at, "INSERT 1; CLOSE", "RELEASE; "+recordAll, "COMMIT")
}

// TestGroupAccessFails: where there are no credentials, and where the server does not
// know the grammar, the load goes natively, from behind the savepoint.
func TestGroupAccessFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		access Access
		rules  []rule
		sess   []string
	}{
		"no credentials": {access: func(context.Context) (store.Config, error) { return store.Config{}, nil }},
		"no answer":      {access: func(context.Context) (store.Config, error) { return store.Config{}, errors.New("down") }},
		"no grammar": {
			access: temporary, rules: []rule{{match: "OPEN 1", err: boom("42601")}},
			sess: []string{"SAVE; ", `OPEN 1 2 in 0001/ "\n" at host:1 r accessid=AKIA0123456789 secret=s3cr3t/s3cr3t+ token=t0k3nt0k3n==`, back},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			twos(groupEngine{change: withAccess}, c.rules...)(b)
			b.access = c.access
			ld := b.begin(t)
			rows, err := loadCase{}.load(t, ld, lines(5))
			b.end(t)
			if rows != 5 || err != nil || ld.run.fallback != rewrite.ReasonFallbackEngine || b.breaker("").count != 1 {
				t.Errorf("%d rows, %v, %s, %d failures", rows, err, ld.run.fallback, b.breaker("").count)
			}
			b.want(t, append(append([]string{askTwo}, c.sess...), native, "end c: "+string(lines(5)), recordAll, "COMMIT")...)
		})
	}
}

// TestGroupAccessSavepoint: where the savepoint itself fails there is nothing to go back
// to.
func TestGroupAccessSavepoint(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	twos(groupEngine{change: withAccess}, rule{match: "SAVE; ", at: 3, err: nil}, rule{match: "SAVE; ", err: boom("53100")})(b)
	b.access = temporary
	ld := b.begin(t)
	if _, err := (loadCase{}).load(t, ld, lines(5)); pgerr.As(err) == nil || pgerr.As(err).Code() != "53100" {
		t.Error(err)
	}
	b.end(t)
	b.want(t, askTwo, "SAVE; ", "ROLLBACK")
}

// TestGroupAccessStopped: a cancel that comes between the texts of a plan keeps the next
// one from being sent.
func TestGroupAccessStopped(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	twos(groupEngine{change: withAccess})(b)
	b.access = temporary
	var ld *Load
	b.sess.onExec = func(sql string) {
		if strings.HasPrefix(sql, "OPEN") {
			ld.Cancel()
			<-b.sess.cancels // it has come too late
		}
	}
	ld = b.begin(t)
	if err := ld.writeLines(5); err != nil && pgerr.As(err) == nil {
		t.Fatal(err)
	}
	rows, err := ld.Finish(t.Context(), CopyDone())
	b.end(t)
	if got := b.sess.history(); strings.Contains(got, "INSERT") || !strings.Contains(got, back) || rows != 0 || pgerr.As(err) == nil {
		t.Errorf("%d rows, %v, on the session ran\n%s", rows, err, got)
	}
}

// TestWithoutSecrets: neither errors nor notices have credentials, in no field and in
// no form; without credentials both are left as they are.
func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	a := engine.Access{ID: "AKIA0123456789", Secret: "s3cr3t/s3cr3t+", Token: "t0k3nt0k3n=="}
	said := func() *pgerr.Error {
		return pgerr.New("XX000", "no secret=s3cr3t/s3cr3t+").With('D', "{t0k3nt0k3n==}").With('W', "at accessid=AKIA").With('q', "s3cr3t/s3cr3t+").With('R', "routine")
	}
	results, err := withoutSecrets(a, []Result{{Notices: [][]byte{said().AppendBody(nil)}}}, said())
	for _, e := range []*pgerr.Error{pgerr.As(err), pgerr.Parse(results[0].Notices[0])} {
		text := string(e.AppendBody(nil))
		if strings.Contains(text, "s3cr3t") || strings.Contains(text, "t0k3n") || strings.Contains(text, "AKIA") || e.Code() != "XX000" || e.Get('R') != "routine" {
			t.Errorf("%q", text)
		}
	}
	results, err = withoutSecrets(engine.Access{}, []Result{{Notices: [][]byte{said().AppendBody(nil)}}}, said())
	if err.Error() != said().Error() || string(results[0].Notices[0]) != string(said().AppendBody(nil)) {
		t.Errorf("%v, %q", err, results)
	}
	if _, err := withoutSecrets(a, nil, errLost); !errors.Is(err, errLost) {
		t.Error(err)
	}
	if e := MaskError(said()); strings.Contains(e.Get('M'), "s3cr3t") || e.Code() != "XX000" {
		t.Error(e)
	}
}

// TestDecideAccess: what holds credentials has to be asked for by name, also by loads
// that would be read by the server otherwise.
func TestDecideAccess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		prefer rewrite.Method
		ack    string
		access Access
		want   rewrite.Method
	}{
		{rewrite.MethodExternal, "", temporary, rewrite.MethodExternal},
		{rewrite.MethodExternal, "staged", temporary, rewrite.MethodExternal},
		{rewrite.MethodExternal, "", nil, rewrite.MethodCopy},
		{rewrite.MethodNone, "", temporary, rewrite.MethodCopy},
		{rewrite.MethodNone, "staged", temporary, rewrite.MethodCopy},
		{rewrite.MethodCopy, "staged", temporary, rewrite.MethodCopy},
	} {
		b := newBed(t)
		twos(groupEngine{change: func(c *engine.Caps) { withAccess(c); c.Ordered = true }})(b)
		b.cfg.Prefer, b.access = c.prefer, c.access
		in := *b.spec.Inspection
		in.Ack, in.Installed, in.Kind, in.InsertPrivilege, in.StandardStrings = c.ack, true, "r", true, true
		in.Version, in.ClientEncoding, in.ServerEncoding, in.Isolation = 150000, "UTF8", "UTF8", "read committed"
		if d := b.Decide(t.Context(), b.spec.Statement, &in, false); d.Method != c.want {
			t.Errorf("%+v: %+v", c, d)
		}
	}
}
