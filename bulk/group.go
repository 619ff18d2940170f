package bulk

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// maxReaders bounds the files of a group, whose bytes are held until their rows
// have been counted.
const maxReaders = 64

// maxFetches is how often one reader may ask for Group.Config.
const maxFetches = 4

// grouping says which files of a load are read by one plan.
type grouping struct {
	// size is how many; 0 and 1 are each file by itself.
	size int
	// header: the first file begins with header lines, and is a group of its own.
	header bool
}

// of returns the number of a file's group; both count from 1.
func (g grouping) of(file int) int {
	if g.header && g.size > 1 {
		return (file-2+g.size)/g.size + 1
	}
	return (file-1)/max(g.size, 1) + 1
}

// ends says that a file is the last of its group.
func (g grouping) ends(file int) bool { return g.of(file) != g.of(file+1) }

// ErrBlockFailed is wrapped with the server's error where the load can't begin because
// the client's block has failed: even the savepoint could not be set.
var ErrBlockFailed = errors.New("the transaction block has failed")

// prepareTarget has the engine complete the target, which decides how large
// groups are. Where the engine can't load it, the load goes by COPY.
func (ld *Load) prepareTarget() error {
	in := ld.spec.Inspection
	ld.target = engine.Target{Schema: in.Schema, Table: in.Table, OID: in.OID, Columns: in.Columns, OverridingSystem: in.IdentityAlways}
	ld.target.Pull = ld.spec.Decision.Method == rewrite.MethodPull
	p, ok := ld.engine.(engine.Preparer)
	if !ok || !ld.spec.readsItself() {
		return nil
	}
	results, err := ld.sess.Exec(ld.ctx, setSavepoint+p.PrepareSQL(ld.target, in.CopyEncoding)+"; "+strings.TrimSuffix(releaseSavepoint, "; "))
	if e := pgerr.As(err); e != nil {
		ld.log.Warn("prepare the external table, going on natively", "error", engine.MaskURL(err.Error()))
		ld.spec.Decision.Method = rewrite.MethodCopy
		_, uerr := ld.sess.Exec(ld.ctx, rollbackSavepoint)
		if u := pgerr.As(uerr); ld.spec.InBlock && u != nil && !u.IsFatal() {
			return fmt.Errorf("%w: %w", ErrBlockFailed, e)
		}
		return uerr
	}
	if err != nil {
		return err
	}
	if len(results) != 3 || len(results[1].Rows) != 1 {
		return fmt.Errorf("prepare the external table: %d results", len(results))
	}
	t, err := p.Prepare(ld.target, results[1].Rows[0])
	if err != nil {
		ld.log.Debug("prepare the external table, going on natively", "error", err)
		ld.spec.Decision.Method = rewrite.MethodCopy
		return nil
	}
	ld.target = t
	if ld.engine.Caps().Parallel && !t.Pull {
		ld.groups = grouping{size: min(max(t.Readers, 1), maxReaders), header: ld.spec.Statement.HeaderLines > 0}
	}
	return nil
}

// collect adds a file to the group that is loaded at once.
func (ld *Load) collect(f *file) error {
	ld.run.group = append(ld.run.group, f)
	if !ld.groups.ends(f.number) && !f.raw {
		return nil
	}
	return ld.loadGroup()
}

// loadGroup brings the files collected so far into the table. A raw one among
// them, which is the last, goes natively, and so does all that follows.
func (ld *Load) loadGroup() error {
	group := ld.run.group
	if n := len(group) - 1; n > 0 && group[n].raw {
		group = group[:n]
	}
	if len(group) == 0 {
		return nil
	}
	if ld.run.copy == nil {
		done, err := ld.tryExternal(group)
		if err != nil {
			return err
		}
		if done {
			ld.dropGroup(len(group))
			return ld.loadGroup()
		}
		if err := ld.startCopy(); err != nil {
			return err
		}
	}
	return ld.feedGroup()
}

// feedGroup sends what was collected into the COPY.
func (ld *Load) feedGroup() error {
	for _, f := range ld.run.group {
		if err := ld.beginFeed(f); err != nil {
			return err
		}
		if err := ld.feed(f); err != nil {
			return err
		}
	}
	ld.dropGroup(len(ld.run.group))
	return nil
}

// dropGroup lets go of the first n files that were collected.
func (ld *Load) dropGroup(n int) {
	for _, f := range ld.run.group[:n] {
		f.held.release()
	}
	ld.run.group = ld.run.group[n:]
}

// plan asks the engine for the SQL of a group. done ends what the plan needs; access
// are the credentials that it holds.
func (ld *Load) plan(group []*file) (p engine.Plan, access engine.Access, done func(), err error) {
	g, caps, done := engine.Group{}, ld.engine.Caps(), func() {}
	for _, f := range group {
		url, err := ld.presign(ld.ctx, f)
		if err != nil {
			return p, access, done, err
		}
		g.Files = append(g.Files, ld.engineFile(f, url))
	}
	if caps.Parallel {
		g.Prefix, g.EOL = ld.l.urls.URL(path.Dir(group[0].key)+"/"), ld.lineEnd(group[0])
	}
	if caps.Config {
		// Every reader fetches it for itself, and may try again.
		g.Config, done = ld.l.configs.Open(maxFetches * max(ld.target.Readers, 1))
		g.Endpoint, g.Region = ld.l.configs.Place()
	}
	if caps.Access {
		if err := ld.giveAccess(&g); err != nil {
			return p, access, done, err
		}
	}
	var key []byte
	if ld.db != nil {
		key = ld.db.Key
	}
	stmt := ld.spec.Statement
	if group[0].binary > 0 {
		stmt = &rewrite.CopyStatement{Format: rewrite.FormatBinary} // of its options the transcoder knows
	}
	p, err = ld.engine.Plan(ld.target, stmt, ld.sealSession(), g, key, time.Now().Add(ld.l.cfg.URLTTL))
	if err == nil && p.Count == "" && !caps.TagIsExact {
		err = fmt.Errorf("%w: a plan without a count", engine.ErrUnsupported)
	}
	return p, g.Access, done, err
}

// lineEnd returns how the lines of a file end, whose last one may not.
func (ld *Load) lineEnd(f *file) string {
	if f.eol != "" || ld.spec.Statement.Format == rewrite.FormatBinary {
		return f.eol
	}
	if f.held.Size() == 0 {
		return "\n"
	}
	last := []byte{0}
	if _, err := f.held.ReadAt(last, f.held.Size()-1); err == nil && (last[0] == '\n' || last[0] == '\r') {
		return lineEnd(f.held)
	}
	recs, err := newRecords(f, ld.spec.scanOptions())
	if err != nil {
		return "\n" // no record: nothing ends
	}
	return recs.eol
}

// counted returns the rows that the server has read, and the notices of the
// INSERT. The results are those of the savepoints and of the plan's statements.
func counted(p engine.Plan, results []Result) (int64, [][]byte, error) {
	insert := len(results) - 2
	if p.Count != "" {
		insert--
	}
	if insert < 0 {
		return 0, nil, fmt.Errorf("%w: %d answers", errPlan, len(results))
	}
	if p.Count != "" {
		if rows := results[insert+1].Rows; len(rows) == 1 && len(rows[0]) == 1 {
			return parseCount(string(rows[0][0])), results[insert].Notices, nil
		}
		return 0, nil, fmt.Errorf("%w: no count was answered", errPlan)
	}
	n, ok := strings.CutPrefix(results[insert].Tag, "INSERT 0 ")
	if !ok {
		return 0, nil, fmt.Errorf("%w: no INSERT was answered", errPlan)
	}
	return parseCount(n), results[insert].Notices, nil
}
