package bulk

import (
	"context"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// unread says that nobody would ever read what a load by COPY puts into the store:
// no ledger tells of it, and it is not to be kept. The COPY on the session is as safe
// as the client's own.
func (l *Loader) unread(ctx context.Context, in *rewrite.Inspection) bool {
	if l.cfg.KeepAll {
		return false
	}
	_, reason := l.dbs.Lookup(ctx, in.Database, in.Installed)
	return reason != rewrite.ReasonNone
}

// unread says it of a load, which may do more than to append rows. Files that the
// server reads itself, and those that are sent once more behind an error, are read
// from the store.
func (ld *Load) unread() bool {
	return ld.db == nil && !ld.l.cfg.KeepAll && !ld.spec.Inspection.Forced() && !ld.spec.readsItself() && !ld.replays()
}
