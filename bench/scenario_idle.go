package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// idleSessions are many for one proxy; each takes two
// descriptors of its, so that a limit may allow fewer.
const idleSessions = 10_000

// spareDescriptors are those of everything else in a process.
const spareDescriptors = 200

// idle measures the memory of the proxy with sessions that do nothing. They end at a
// PgBouncer, which takes a server's connection only for a session that asks
// something: ten thousand server processes are more than this machine holds.
type idle struct{ tls bool }

func (s idle) scenario() scenario {
	if s.tls {
		return scenario{name: "tls-idle-sessions", summary: "the same with TLS on both sides", run: s.run}
	}
	return scenario{name: "idle-sessions", summary: "memory of the proxy with 10000 idle sessions, that go on to a PgBouncer", run: s.run}
}

func (s idle) run(ctx context.Context, l *lab) ([]Result, error) {
	if l.opts.NoProxy {
		return nil, skipError("there is no proxy whose memory could be measured")
	}
	n, err := sessionsAllowed()
	if err != nil {
		return nil, err
	}
	k := l.plain()
	if s.tls {
		if k, err = l.secured(ctx); err != nil {
			return nil, err
		}
	}
	bouncer, err := l.startBouncer(ctx, k)
	if err != nil {
		return nil, err
	}
	defer bouncer.stop()
	px, err := l.startProxyTo(ctx, "plain", bouncer.endpoint, k.settings...)
	if err != nil {
		return nil, err
	}
	defer px.stop()
	sessions, err := connectMany(ctx, px.endpoint, n)
	defer func() {
		for _, c := range sessions {
			_ = c.Conn().Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	now, err := currentRSS(px.pid())
	if err != nil {
		return nil, err
	}
	peak, err := peakRSS(px.pid())
	if err != nil {
		return nil, err
	}
	res := Result{Name: s.scenario().name, Group: "Memory", Unit: "MiB", Better: lower, PeakRSS: peak}
	res.add(fmt.Sprintf("%d sessions", n), []float64{float64(now) / (1 << 20)})
	l.progress("  %d sessions: %d MiB, at most %d MiB", n, now>>20, peak>>20)
	return []Result{res}, nil
}

// sessionsAllowed is idleSessions, or what the limit of open files leaves.
func sessionsAllowed() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	return min(idleSessions, (int(min(limit.Max, 1<<30))-spareDescriptors)/2), nil
}

// connectMany opens sessions, some at a time. Those that it opened come with an
// error, too.
func connectMany(ctx context.Context, ep endpoint, n int) ([]*pgconn.PgConn, error) {
	var mu sync.Mutex
	var sessions []*pgconn.PgConn
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for range n {
		group.Go(func() error {
			c, err := pgconn.Connect(ctx, ep.dsn())
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			sessions = append(sessions, c)
			return nil
		})
	}
	err := group.Wait()
	return sessions, err
}
