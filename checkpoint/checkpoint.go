package checkpoint

import (
	"context"
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

// Load is what Begin records.
type Load struct {
	ProcessID string
	// Database and Role are the client's.
	Database, Role string
	Schema, Table  string
	// Owner names the proxy process.
	Owner   string
	Started time.Time
}

// File is what Freeze records.
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
}

func (o Outcome) validate() error {
	if o.Status != Completed && o.Status != Failed && o.Status != Cancelled {
		return fmt.Errorf("settle load %s: %q is no way to end", o.ProcessID, o.Status)
	}
	return nil
}

// Swept is one settled load whose files may be deleted.
type Swept struct {
	ProcessID string
	Keys      []string
}

// Ledger is the service connection's side of the ledger, for one database. All
// methods may be called concurrently, and each is one statement in its own
// transaction. Errors are the caller's to judge: a ledger that is down must
// not stop a load that the client waits for.
type Ledger interface {
	Begin(ctx context.Context, l Load) error
	Freeze(ctx context.Context, f File) error
	// Settle is idempotent: a load that is settled keeps its status, unless
	// its import rows turn out to be all there; then it is Completed, whatever
	// the outcome says. It returns the status that the ledger now shows.
	Settle(ctx context.Context, o Outcome) (Status, error)
	// Due returns up to limit loads that ended before the given time and whose
	// files are not marked deleted.
	Due(ctx context.Context, before time.Time, limit int) ([]Swept, error)
	// MarkSwept records that the files of a load are deleted.
	MarkSwept(ctx context.Context, processIDs ...string) error
}
