package bulk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// awayLedger fails the first entries.
type awayLedger struct {
	*fakeLedger
	errs []error
	over time.Time // it fails up to here
}

// Settle implements checkpoint.Ledger.
func (l *awayLedger) Settle(ctx context.Context, o checkpoint.Outcome) (checkpoint.Status, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return "", err
	}
	if time.Now().Before(l.over) {
		return "", errLost
	}
	return l.fakeLedger.Settle(ctx, o)
}

// Lookup implements Databases.
func (l *awayLedger) Lookup(context.Context, string, bool) (*Database, rewrite.Reason) {
	return &Database{Ledger: l, Key: make([]byte, sealed.KeySize)}, rewrite.ReasonNone
}

// settle runs a load, and returns what the ledger has to hear in the end.
func (l *awayLedger) settle(t *testing.T) (*bed, string) {
	b := newBed(t)
	l.fakeLedger, b.dbs = b.ledger, l
	ld := b.begin(t)
	if err := ld.writeLines(5); err != nil {
		t.Fatal(err)
	}
	if _, err := ld.Finish(t.Context(), Frame{Type: 'c'}); err != nil {
		t.Fatal(err)
	}
	return b, "settle COMPLETED"
}

// TestLedgerAway: an entry that a crash of the server prevents is made later;
// one that the ledger refuses is not made again and again.
func TestLedgerAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		errs   []error
		away   time.Duration
		wanted bool
	}{
		"lost":     {errs: []error{errLost, &pgconn.PgError{Code: "57P03"}, errors.Join(&pgconn.PgError{Code: "08006"})}, wanted: true},
		"minutes":  {away: ledgerPatience - time.Second, wanted: true},
		"for good": {away: 2 * ledgerPatience},
		"refused":  {errs: []error{&pgconn.PgError{Code: "42P01"}}},
		"unknown":  {errs: []error{checkpoint.ErrUnknownLoad}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &awayLedger{errs: c.errs, over: time.Now().Add(c.away)}
				b, want := l.settle(t)
				time.Sleep(2 * ledgerPatience) // of the test's own clock
				b.end(t)
				if got := strings.Contains(strings.Join(b.ledger.calls, " "), want); got != c.wanted {
					t.Errorf("settled: %t; %v", got, b.ledger.calls)
				}
			})
		})
	}
}

// TestLedgerAwayAtTheEnd: a proxy that ends does not wait for the server.
func TestLedgerAwayAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := &awayLedger{over: began.Add(ledgerPatience)}
		b, _ := l.settle(t)
		b.end(t)
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %s", d)
		}
	})
}
