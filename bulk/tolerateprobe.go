package bulk

import (
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Of what a worker has against a row the COPY of Citus says nothing but its text:
// the SQLSTATE is that of an internal error. So a single record that it refused goes
// once more, by way of a temporary table, as an INSERT with RETURNING: which has the
// worker's own error. It is in then, or refused by its SQLSTATE.

// hides says that an error of COPY's may be one of a row all the same.
func (ld *Load) hides(e *pgerr.Error) bool {
	return ld.spec.Inspection.Sharding != nil && e.Code() == pgerr.InternalError && !ld.spec.Statement.DefaultSet
}

// probe sends the record up to end, and returns what the server has against it, or
// nil where it is in. What fails for another reason is the load's error.
func (t *tolerance) probe(end mark) (refused *pgerr.Error, err error) {
	if err = t.insertOne(end); err == nil {
		t.loaded(end, 1)
		return nil, nil
	}
	if e := pgerr.As(err); e != nil {
		if stop := t.ld.stopTolerant(); stop != nil {
			return nil, stop
		}
		if !e.IsFatal() && (e.Class() == "22" || e.Class() == "23") {
			return e, nil
		}
	}
	return nil, t.ld.atLine(err)
}

func (t *tolerance) insertOne(end mark) error {
	ld := t.ld
	if ld.run.transfer.Create == "" {
		if err := ld.planProbe(); err != nil {
			return err
		}
	}
	tr := ld.run.transfer
	sql, head := ld.statementOf(t, &rewrite.Inspection{Schema: "pg_temp", Table: ld.run.probe, Columns: ld.spec.Inspection.Columns})
	if _, err := ld.copyRange(tr.Create+"; "+sql, head, t.f.held, t.start.off, end.off); err != nil {
		return err
	}
	ld.run.loaded = false // until it is in
	if _, err := ld.exec(tr.Inserts[0] + " RETURNING 1; " + tr.Drop); err != nil {
		return err
	}
	ld.run.loaded = true
	return nil
}

// planProbe asks for what the temporary table needs.
func (ld *Load) planProbe() error {
	results, err := ld.exec("ROLLBACK TO SAVEPOINT pgbulkproxy; " + ld.spec.Statement.DefinitionsSQL(ld.spec.Inspection))
	if err != nil {
		return err
	}
	row := ""
	if last := results[len(results)-1].Rows; len(last) == 1 && len(last[0]) == 1 {
		row = string(last[0][0])
	}
	in, err := rewrite.ParseInspection(row)
	if err != nil {
		return pgerr.New(pgerr.SystemError, "pgbulkproxy: %s", err)
	}
	in.Routing = nil
	ld.run.probe = "pgbulkproxy_" + ld.id
	ld.run.transfer = ld.spec.Statement.Transfer(in, &rewrite.Extensions{OnConflict: rewrite.ConflictError}, ld.run.probe)
	return nil
}
