package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Status of a load, as relyt_loader_checkpoint.status shows it.
type Status string

// The statuses.
const (
	Running   Status = "RUNNING"
	Completed Status = "COMPLETED"
	Failed    Status = "FAILED"
	Cancelled Status = "CANCELLED"
)

// Ack is what a load's success reply promises.
type Ack string

// The acknowledgements.
const (
	// AckLoaded: the rows are in the table.
	AckLoaded Ack = "loaded"
	// AckStaged: files and ledger are durable; a worker imports the rows.
	AckStaged Ack = "staged"
)

var (
	// ErrUnknownLoad says that the ledger has no row of that process id: its
	// Begin did not succeed.
	ErrUnknownLoad = errors.New("the ledger has no such load")
	// ErrFenced says that the load belongs to another owner or epoch by now, or
	// has ended: who gets it leaves the load alone.
	ErrFenced = errors.New("the load is not this proxy's any more")
	// ErrNoLease says that a proxy is not registered, or that its row was
	// removed: it has to Register again before it takes loads.
	ErrNoLease = errors.New("the proxy has no lease")
	// ErrOldFormat says that the ledger has an older format version: the
	// installation upgrades it.
	ErrOldFormat = errors.New("older format version")
)

// FenceCode is the SQLSTATE of pgbulk.fence's refusal: ErrFenced inside an
// import transaction.
const FenceCode = "PB001"

// Load is what Begin records.
type Load struct {
	ProcessID string
	// Database and Role are the client's.
	Database, Role string
	Schema, Table  string
	// Owner names the proxy process. It should be registered.
	Owner   string
	Started time.Time
	// Ack is AckLoaded where it is empty.
	Ack Ack
	// Label is the load's label, or empty.
	Label string
}

// File is what Create and Freeze record.
type File struct {
	ProcessID string
	Number    int
	// Key is the S3 key, URL the s3:// address without any secret.
	Key, URL string
	Records  int64
	Bytes    int64
	CRC32C   uint32
	Created  time.Time
}

// Fence is what its owner knows a load by. Each time the load is taken over the
// epoch grows; Begin makes it 0.
type Fence struct {
	ProcessID string
	Owner     string
	Epoch     int
}

// Outcome is how a load ended, for Settle.
type Outcome struct {
	ProcessID string
	// Status is Failed or Cancelled where the proxy knows that the load did
	// not commit; Completed where it believes so. Settle trusts the import
	// rows: without them a Completed becomes Cancelled.
	Status Status
	// Message is the error shown in error_message; never a secret.
	Message string
	// Files is how many files the load had, where the proxy knows: a Freeze
	// may have been lost. 0: as many as were frozen.
	Files int
	// Fence, where it is not nil, has Settle fail with ErrFenced if the load
	// is another owner's: for who took it.
	Fence *Fence
}

func (o Outcome) validate() error {
	if o.Status != Completed && o.Status != Failed && o.Status != Cancelled {
		return fmt.Errorf("settle load %s: %q is no way to end", o.ProcessID, o.Status)
	}
	if o.Fence != nil && o.Fence.ProcessID != o.ProcessID {
		return fmt.Errorf("settle load %s: the fence is that of load %s", o.ProcessID, o.Fence.ProcessID)
	}
	return nil
}

// Swept is one settled load whose files may be deleted.
type Swept struct {
	ProcessID string
	Keys      []string
	// Completed: its rows are in the table.
	Completed bool
}

// Books is what a load on a client's session writes. Of all interfaces here: it
// is for one database, over the service connection; all methods may be called
// concurrently, and each is one statement in its own transaction. Errors are
// the caller's to judge: a ledger that is down must not stop a load that the
// client waits for.
type Books interface {
	// Begin records a load. Recording the same load again does nothing.
	Begin(ctx context.Context, l Load) error
	// Create records that an object may exist under the file's key from now
	// on, so that any proxy can sweep it.
	Create(ctx context.Context, f File) error
	// Freeze records that a file is durable. The last record of a file wins.
	Freeze(ctx context.Context, f File) error
	// Settle is called when the client's transaction has ended. It is
	// idempotent: a load that is settled keeps its status, unless its import
	// rows turn out to be all there; then it is Completed, whatever the
	// outcome says. It returns the status that the ledger now shows: Running
	// for a staged load whose transaction committed, whatever the outcome says;
	// the Queue has it. Where that transaction is still under way, Settle of a
	// staged load fails with SQLSTATE 55P03 after a short while: try again.
	Settle(ctx context.Context, o Outcome) (Status, error)
}

// Sweeps is what the sweeper asks.
type Sweeps interface {
	// Due returns up to limit loads that ended before the given time and whose
	// files are not marked deleted. Staged loads that failed are none of them:
	// they can be retried.
	Due(ctx context.Context, before time.Time, limit int) ([]Swept, error)
	// MarkSwept records that the files of a load are deleted.
	MarkSwept(ctx context.Context, processIDs ...string) error
	// Manifest returns what is to be known of a load whose files are kept, as
	// JSON: docs/staging.md has the fields.
	Manifest(ctx context.Context, processID string) ([]byte, error)
	// DropLabels forgets the labels that were claimed before the given time.
	DropLabels(ctx context.Context, before time.Time) (int64, error)
}

// Ledger is all of it.
type Ledger interface {
	Books
	Sweeps
	Leases
	Queue
}
