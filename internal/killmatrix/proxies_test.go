package killmatrix

import (
	"fmt"
	"testing"
)

// TestProxies: two and three proxies work on one ledger. One of them is paused
// for longer than its lease and goes on, or is gone for good; still each row is
// there once.
func TestProxies(t *testing.T) {
	t.Parallel()
	for i, ack := range acks {
		for _, n := range []int{2, 3} {
			if *rounds == 0 && (i+n+int(*seed%2))%2 == 0 {
				continue // the short run has each mode and each number once
			}
			t.Run(fmt.Sprintf("%s %d", ack, n), func(t *testing.T) {
				t.Parallel()
				b := newBed(t, options{ack: ack, shared: true, proxies: n, clients: 2 * n})
				for r := range max(1, *rounds*len(points)) {
					// Any of the points, in an order of the seed's.
					rng := random("proxies", ack, n, r)
					b.round(points[rng.IntN(len(points))], []action{pause, abandon}[(r+n+int(*seed/2%2))%2], r)
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// TestRestart: the server is restarted in the middle of fifty loads.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, ack := range acks {
		t.Run(ack, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, options{ack: ack, clients: 50, most: 1})
			for r := range max(1, *rounds) {
				b.round(inInsert, restart, r)
				if t.Failed() {
					return
				}
			}
		})
	}
}
