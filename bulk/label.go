package bulk

import (
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// claim claims the load's label, if it has one. Where a load had it before,
// repeated is true, and nothing is to be loaded. It waits for the end of another
// load with the label that is under way.
func (ld *Load) claim() (repeated bool, err error) {
	if ld.spec.Decision.Ext.Label == "" {
		return false, nil
	}
	if ld.db == nil {
		return false, pgerr.New(pgerr.SystemError, "pgbulkproxy: the ledger can't be reached, which a label needs")
	}
	sql, err := sealed.ClaimLabelSQL(ld.sealSession(), ld.label(), ld.db.Key, time.Now().Add(ld.l.cfg.URLTTL))
	if err != nil {
		return false, err
	}
	results, err := ld.exec(sql)
	if err != nil {
		return false, err
	}
	for _, r := range results {
		if len(r.Rows) == 1 && len(r.Rows[0]) == 1 && r.Rows[0][0] != nil {
			ld.run.rows = parseCount(string(r.Rows[0][0]))
			return true, nil
		}
	}
	return false, nil
}

// skipFiles drops the data of a load whose label was used before.
func (ld *Load) skipFiles() error {
	for {
		f, err := ld.nextFile()
		if err != nil || f == nil {
			return err
		}
		f.held.release()
		<-ld.slots
	}
}

// finishLabel stores the number of rows with the label.
func (ld *Load) finishLabel(rows int64) error {
	if ld.spec.Decision.Ext.Label == "" || ld.run.repeated {
		return nil
	}
	sql, err := sealed.FinishLabelSQL(ld.sealSession(), ld.label(), rows, ld.db.Key, time.Now().Add(ld.l.cfg.URLTTL))
	if err == nil {
		_, err = ld.exec(sql)
	}
	return err
}

func (ld *Load) label() sealed.Label {
	in := ld.spec.Inspection
	return sealed.Label{ProcessID: ld.id, Schema: in.Schema, Table: in.Table, Text: ld.spec.Decision.Ext.Label}
}
