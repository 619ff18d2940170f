package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

func runMany(t *testing.T, c Config) {
	t.Run("20 MB", func(t *testing.T) { t.Parallel(); large(t, c) })
	t.Run("sessions side by side", func(t *testing.T) { t.Parallel(); sideBySide(t, c) })
}

func large(t *testing.T, c Config) {
	b, l := tableBench(t, c)
	const rows = 200_000
	var data strings.Builder
	for i := range rows {
		fmt.Fprintf(&data, "%d\t%s\n", i, strings.Repeat(string(rune('a'+i%26)), 95))
	}
	if n, err := b.external(l, data.String()); err != nil || n != rows {
		t.Fatalf("%d rows, %v", n, err)
	}
	b.want(b.admin, "SELECT count(*), count(DISTINCT a), sum(length(b)) FROM t",
		fmt.Sprintf("%d|%d|%d", rows, rows, rows*95))
	b.wantLeftovers(l, fmt.Sprintf("1:%d:role", rows))
}

// sideBySide loads three files on each of eight sessions of one role.
func sideBySide(t *testing.T, c Config) {
	b, _ := tableBench(t, c)
	var g errgroup.Group
	for i := range 8 {
		s := &bench{t: t, c: c, schema: b.schema, role: b.role, admin: b.admin, sess: b.connect(b.role)}
		s.must(s.sess, "SET search_path = "+b.schema)
		l := newLoad("t", text())
		// Planned here: a bench may end its test, which no other goroutine may.
		one, two, three := s.plan(l, fmt.Sprintf("%d\ta\n", i)), s.plan(l, fmt.Sprintf("%d\tb\n", i)), s.plan(l, "")
		g.Go(func() error {
			if _, err := run(s.sess, "BEGIN"); err != nil {
				return err
			}
			if _, err := runPlan(s.sess, one); err != nil {
				return err
			}
			if _, err := runPlan(s.sess, two); err != nil {
				return err
			}
			if _, err := runPlan(s.sess, three); err != nil {
				return err
			}
			_, err := run(s.sess, "COMMIT")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	b.want(b.admin, "SELECT count(*), count(DISTINCT a) FROM t", "16|8")
}
