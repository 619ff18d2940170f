package killmatrix

import (
	"cmp"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	rounds = flag.Int("killmatrix.rounds", 0, "rounds of each point and action; 0: a short run")
	seed   = flag.Uint64("killmatrix.seed", 1, "seed of all that is random")
	only   = flag.String("killmatrix.point", "", "only points whose name contains this")
	doing  = flag.String("killmatrix.action", "", "only actions whose name contains this")
)

// acks are the modes that there are.
var acks = []string{loaded, staged}

// clients of a bed, where nothing else is said.
const clients = 4

// TestMatrix: whatever ends at whatever point, no row is lost or doubled.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for i, m := range []struct {
		name   string
		points []point
		options
	}{
		{loaded, points, options{ack: loaded}},
		{staged, points, options{ack: staged}},
		{"transcoded", binaryPoints, options{ack: loaded, env: []string{"PGBULK_LOAD_METHOD=auto"}}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, m.options)
			for _, c := range plan(i, m.points, actions) {
				b.round(c.point, c.action, c.round)
				if t.Failed() {
					return // what follows would only tell of the same
				}
			}
			if staged := len(b.counted); int64(staged) < b.loads.Load()/2 {
				t.Errorf("only %d of %d loads were staged", staged, b.loads.Load())
			}
		})
	}
}

// turn is one round.
type turn struct {
	point  point
	action action
	round  int
}

// plan lists the rounds of the n-th mode. The short run has one for each point:
// by turns the end of the proxy, and one of the other actions.
func plan(n int, points []point, actions []action) (all []turn) {
	for i, p := range points {
		for k, a := range actions {
			count := *rounds
			if turns := i + n + int(*seed%12); count == 0 && (turns%2 == 0 && k == 0 || turns%2 == 1 && k == 1+turns/2%(len(actions)-1)) {
				count = 1
			}
			if !strings.Contains(string(p), *only) || !strings.Contains(string(a), *doing) {
				continue
			}
			for r := range count {
				all = append(all, turn{p, a, r})
			}
		}
	}
	return all
}

// random is a source that depends on the seed and what it is for.
func random(parts ...any) *rand.Rand {
	h := fnv.New64()
	fmt.Fprint(h, parts...)
	return rand.New(rand.NewPCG(*seed, h.Sum64()))
}

// round lets one action happen at one point.
func (b *bed) round(p point, a action, n int) {
	b.t.Helper()
	began := time.Now()
	rng := random(b.ack, p, a, n)
	name := fmt.Sprintf("-killmatrix.seed %d -killmatrix.point '%s' -killmatrix.action '%s', ack %s, round %d", *seed, p, a, b.ack, n)
	crowd := b.crowd(rng)
	most := 6 // times that the point is passed before
	if b.gate.parts {
		most = 2
	}
	fired := b.trigger.arm(p, 1+rng.IntN(most), b.act(a, rng))
	select {
	case <-fired:
		b.repair(a, rng)
	case <-time.After(patience):
		b.t.Errorf("%s: the point is not reached", name)
	}
	b.trigger.disarm()
	crowd.goOn()
	units := crowd.end()
	for _, c := range crowd.clients {
		for _, what := range c.complaints {
			b.t.Errorf("%s: %s", name, what)
		}
	}
	if problem := b.await(func() string { return b.check(units) }); problem != "" {
		b.t.Errorf("%s: %s", name, problem)
	}
	fates := make(map[fate]int)
	for _, u := range units {
		fates[u.fate]++
	}
	b.t.Logf("%s: %v in %s", name, fates, time.Since(began).Round(10*time.Millisecond))
	b.settle()
	b.revive()
}

// crowd are the clients of a round.
type crowd struct {
	b       *bed
	clients []*client
	stop    chan struct{}
	wg      sync.WaitGroup
}

// crowd starts the clients, a goroutine each; end waits for them.
func (b *bed) crowd(rng *rand.Rand) *crowd {
	cr := &crowd{b: b, stop: make(chan struct{})}
	for i := range b.clients {
		c := &client{b: b, door: b.doors[i%len(b.doors)], rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())), most: b.most}
		cr.clients = append(cr.clients, c)
		cr.wg.Go(func() { c.run(cr.stop) })
	}
	return cr
}

// goOn waits until each client has ended another transaction, in the long run
// two.
func (cr *crowd) goOn() {
	cr.b.t.Helper()
	var enough []int64
	for _, c := range cr.clients {
		enough = append(enough, cmp.Or(c.most, c.ended.Load()+1+int64(min(*rounds, 1))))
	}
	cr.b.eventually(func() string {
		for i, c := range cr.clients {
			if c.ended.Load() < enough[i] {
				return "a client does not go on"
			}
		}
		return ""
	})
}

// end stops the clients and returns what they did.
func (cr *crowd) end() (units []*unit) {
	close(cr.stop)
	cr.wg.Wait()
	for _, c := range cr.clients {
		units = append(units, c.units...)
	}
	return units
}
