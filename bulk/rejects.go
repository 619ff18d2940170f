package bulk

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// rejects are the bad rows of a load.
type rejects struct {
	// step is how many records the next run has; 0 is all, until one was bad. since is
	// how many were good since the last bad one.
	step, since int64
	count       int64
	first       sealed.Reject
	// pending are not written down yet, bytes their size.
	pending []sealed.Reject
	bytes   int
}

const (
	// maxRejectRaw is what is kept of a row: as much as the ledger keeps.
	maxRejectRaw = 16 << 10
	// Rejects are written down when there are so many, or of so many bytes: one
	// statement is worth its round trip then, and memory stays small.
	maxPendingRejects     = 200
	maxPendingRejectBytes = 1 << 20
)

// reject notes a bad row, and fails when there are too many.
func (ld *Load) reject(e *pgerr.Error, line int64, raw []byte) error {
	in, r := ld.spec.Inspection, &ld.run.rejects
	row := sealed.Reject{Line: line, Column: errorColumn(e, in.Table, in.Columns), SQLState: e.Code(), Message: e.Get('M'), Raw: raw}
	r.step, r.since = max(r.since/4, 1), 0 // the next one is likely as far away
	r.count++
	if r.count == 1 {
		r.first = row
	}
	if most := ld.spec.Decision.Ext.MaxErrors; most > 0 && r.count > most {
		return ld.tooManyRejects(most, line)
	}
	if ld.seal == nil {
		return nil
	}
	r.pending = append(r.pending, row)
	r.bytes += len(row.Raw) + len(row.Message)
	if len(r.pending) < maxPendingRejects && r.bytes < maxPendingRejectBytes {
		return nil
	}
	return ld.flushRejects()
}

// tooManyRejects fails the load, inside a transaction block also the block. The
// SQLSTATE is that of PostgreSQL 18 beyond its REJECT_LIMIT.
func (ld *Load) tooManyRejects(most, line int64) error {
	if err := ld.undoFile(); err != nil {
		return err
	}
	if ld.spec.InBlock {
		if err := FailTransaction(ld.ctx, ld.sess); err != nil {
			return err
		}
	}
	f := ld.run.rejects.first
	where := "line " + strconv.FormatInt(f.Line, 10)
	if f.Column != "" {
		where += ", column " + f.Column
	}
	limit := fmt.Sprintf("pgbulk.max_error_records (%d)", most)
	if ld.spec.Decision.Ext.MaxErrorsOption {
		limit = fmt.Sprintf("REJECT_LIMIT (%d)", most)
	}
	return pgerr.New(pgerr.InvalidText, "pgbulkproxy: skipped more than %s rows", limit).
		With('D', fmt.Sprintf("The first is %s: %s (SQLSTATE %s)", where, f.Message, f.SQLState)).
		With('W', fmt.Sprintf("COPY %s, line %d", ld.spec.Inspection.Table, line))
}

// flushRejects writes rejects down, in the load's transaction. Where that fails
// the load does: rows must not vanish without a trace.
func (ld *Load) flushRejects() error {
	r := &ld.run.rejects
	if len(r.pending) == 0 {
		return nil
	}
	if err := ld.undoFile(); err != nil {
		return err
	}
	in := ld.spec.Inspection
	sql, err := sealed.RejectsSQL(ld.sealSession(), ld.id, in.Schema, in.Table, r.pending,
		in.ServerEncoding == "UTF8", ld.seal, time.Now().Add(ld.l.cfg.URLTTL))
	if err != nil {
		return pgerr.New(pgerr.SystemError, "pgbulkproxy: %s", err)
	}
	r.pending, r.bytes = nil, 0
	_, err = ld.exec(sql)
	e := pgerr.As(err)
	switch {
	case e == nil || e.IsFatal() || ld.isStopped():
		return err
	case strings.HasPrefix(e.Code(), "57"):
		return e
	}
	return pgerr.New(pgerr.SystemError, "pgbulkproxy: the skipped rows could not be written down").With('D', e.Error())
}

// tellSkipped ends a load that has skipped rows with a notice, where the session
// shows notices.
func (ld *Load) tellSkipped() error {
	n := ld.run.rejects.count
	if n == 0 {
		return nil
	}
	results, err := ld.exec("SELECT pg_catalog.current_setting('client_min_messages')")
	if err != nil {
		return err
	}
	for _, r := range results {
		if len(r.Rows) == 1 && len(r.Rows[0]) == 1 {
			switch string(r.Rows[0][0]) {
			case "warning", "error", "fatal", "panic":
				return nil
			}
		}
	}
	text := fmt.Sprintf("pgbulkproxy: %d rows were skipped", n)
	if n == 1 {
		text = "pgbulkproxy: 1 row was skipped"
	}
	notice := &pgerr.Error{Fields: []pgerr.Field{{Type: 'S', Value: "NOTICE"}, {Type: 'V', Value: "NOTICE"}, {Type: 'C', Value: "00000"}, {Type: 'M', Value: text}}}
	if ld.seal == nil {
		notice = notice.With('D', "They are not written down: pgbulkproxy is not installed in this database, or its service connection failed.")
	} else {
		notice = notice.With('H', "See relyt_sys.relyt_loader_rejects, process_id '"+ld.id+"'.")
	}
	return ld.sess.Notify([][]byte{notice.AppendBody(nil)})
}

// contextLine is what COPY adds to the CONTEXT of a row's errors, whatever the
// language of messages: "table, line 3, column a: …".
var contextLine = regexp.MustCompile(`^, [^ \n]+ ([0-9]{1,18})(?:, [^ \n]+ )?`)

// errorLine returns the line that COPY says an error is in. It is a hint: data
// that COPY quotes, or another language, may lead astray.
func errorLine(e *pgerr.Error, table string) (int64, bool) {
	line, _, ok := copyContext(e, table)
	return line, ok
}

// errorColumn returns the column that an error is about, or "".
func errorColumn(e *pgerr.Error, table string, columns []string) string {
	_, rest, _ := copyContext(e, table)
	found := ""
	for _, c := range columns {
		if len(c) > len(found) && strings.HasPrefix(rest, c+":") {
			found = c
		}
	}
	if found == "" {
		found = e.Get('c')
	}
	return found
}

// copyContext returns the first line of a CONTEXT that COPY can have written: the
// number, and what stands where a column does. Behind it is data that COPY quotes.
func copyContext(e *pgerr.Error, table string) (line int64, rest string, ok bool) {
	for _, l := range strings.Split(e.Get('W'), "\n") {
		after, found := strings.CutPrefix(l, "COPY "+table)
		if !found {
			continue
		}
		m := contextLine.FindStringSubmatch(after)
		if m == nil {
			continue
		}
		line, err := strconv.ParseInt(m[1], 10, 64)
		return line, after[len(m[0]):], err == nil
	}
	return 0, "", false
}
