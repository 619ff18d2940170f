package bulk

import (
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// inspectRows asks for the columns of a routed table.
func (ld *Load) inspectRows() error {
	in := ld.spec.Inspection
	if in.Routing == nil || in.Routing.Rows != nil {
		return nil
	}
	results, err := ld.exec(in.RowsSQL() + "; " + in.Routing.GroupsSQL(in, rewrite.MaxPartGroups+1))
	if err != nil {
		return err
	}
	if len(results) != 2 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return errNoColumns
	}
	for _, row := range results[1].Rows {
		in.Routing.Groups = append(in.Routing.Groups, string(row[0]))
	}
	return in.Routing.AddRows(string(results[0].Rows[0][0]))
}

var errNoColumns = errors.New("the columns of a routed table were not found")

// checkMoved compares the rows that both tables got with those that were given:
// where nothing may leave one out they are as many.
func (ld *Load) checkMoved(given, moved int64) error {
	x, in := &ld.spec.Decision.Ext, ld.spec.Inspection
	if !in.Routed() || given == moved || x.OnConflict != rewrite.ConflictError || in.Triggers || in.Routing.Table.Triggers {
		return nil
	}
	if ld.spec.InBlock {
		if err := FailTransaction(ld.ctx, ld.sess); err != nil {
			return err
		}
	}
	return pgerr.New(pgerr.InternalError, "pgbulkproxy: %d rows came to table %s and its auxiliary table, not %d", moved, in.Table, given).
		With('H', "Routes were changed without pgbulkproxy. Nothing was loaded.")
}

// importSteps are those of a routed table's import; nil where it has none.
func (ld *Load) importSteps() ([]sealed.Step, error) {
	in := ld.spec.Inspection
	if in.Routing == nil {
		return nil, nil
	}
	if err := ld.inspectRows(); err != nil {
		return nil, err
	}
	im := ld.spec.Statement.Import(in, &ld.spec.Decision.Ext, "pgbulkproxy_"+ld.id)
	steps := []sealed.Step{{SQL: im.Lock, Rows: -1}, {SQL: im.Bad, Rows: 0}, {SQL: im.Create, Rows: -1}}
	for _, f := range ld.run.staged {
		steps = append(steps, sealed.Step{SQL: im.Fill(sealed.ExternalTable(ld.id, f.number)), Rows: f.rows})
	}
	return append(steps, sealed.Step{SQL: im.Wait, Rows: -1}, sealed.Step{SQL: im.Move, Rows: -1}), nil
}

// replays says that an error of the load is to be looked for by a replay: the
// rows go through the temporary table though the client has only said COPY,
// whose error would name a line, and perhaps another row.
func (ld *Load) replays() bool {
	d := &ld.spec.Decision
	return d.Method == rewrite.MethodTable && d.Ext.OnConflict == rewrite.ConflictError && ld.spec.Inspection.Routed()
}

// keepBytes holds on to a file that goes into the COPY, and lets go of the one
// before, which a replay reads from the store. So what is kept is one file, or a
// small load.
func (ld *Load) keepBytes(f *file) {
	r := &ld.run
	if n := len(r.kept); n > 0 && !ld.spec.Unstaged {
		last := r.kept[n-1]
		r.lost = r.lost || !last.inStore()
		last.letGo()
	}
	r.kept = append(r.kept, f)
}

// inStore says that an upload has ended well.
func (f *file) inStore() bool {
	select {
	case <-f.uploaded:
		return f.upErr == nil
	default:
		return false
	}
}

// letGo gives up the loader's claim on the bytes, once.
func (f *file) letGo() {
	if f.let {
		return
	}
	f.let = true
	f.bytes = f.held.Size()
	f.held.release()
}

// eachByte calls write with the client's bytes of a file, from memory or from the
// store.
func (ld *Load) eachByte(f *file, write func([]byte) error) error {
	if f.let {
		return ld.readBack(f, write)
	}
	return f.held.each(int64(f.head), f.held.Size()-int64(f.tail), write)
}
