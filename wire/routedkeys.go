package wire

import (
	"slices"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// routingKeys collects the distinct values of the routing column, and says of each
// row which it has, counted from 1; 0 is NULL. A values.Pass as error means that
// they cannot be told from the text.
func (t *insertTask) routingKeys() (keys *rewrite.RoutedKeys, of []int32, err error) {
	at := slices.Index(t.insp.Columns, t.insp.Routing.Column)
	withoutList := t.stmt.Columns == nil && t.insp.Generated && t.stmt.HasDefault
	if at < 0 || withoutList || at >= t.stmt.Targets() || t.stmt.Targets() > len(t.insp.Columns) || len(t.insp.Types) != len(t.insp.Columns) || !t.insp.ArrayNulls {
		return nil, nil, values.PassDefault
	}
	keys = &rewrite.RoutedKeys{Type: t.insp.Types[at].ArrayType()}
	if keys.Type == "" {
		return nil, nil, values.PassColumnType
	}
	encoder := values.NewEncoder(t.insp.Types[at : at+1])
	element := make([][]byte, 1)
	if source := t.stmt.SourceRows(); source != nil {
		if err := encoder.AppendElements(element, source.Probe()[at:at+1]); err != nil {
			return nil, nil, err
		}
	}
	of = make([]int32, 0, t.stmt.Rows)
	err = t.eachRow(func(cells []values.Cell) error {
		element[0] = element[0][:0]
		if at >= len(cells) {
			return values.PassRowLength
		}
		if err := encoder.AppendElements(element, cells[at:at+1]); err != nil {
			return err
		}
		if cells[at].Kind == values.Null {
			of = append(of, 0)
			return nil
		}
		of = append(of, keys.Add(element[0]))
		return nil
	})
	return keys, of, err
}

// ask asks the server which rows are the auxiliary table's, behind waiting for
// those of moving groups; and sets the savepoint.
func (r *routedInsert) ask(keys *rewrite.RoutedKeys, of []int32) (failed *pgerr.Error, err error) {
	t := r.t
	in, route := t.insp, t.insp.Routing
	sql := ""
	if wait := route.WaitKeysSQL(in, t.routes.Moving, keys); wait != "" {
		sql += wait + "; "
	}
	sql += route.AuxKeysSQL(in, keys) + "; " + t.stmt.DrawsSQL(in)
	results, failed, err := r.question(sql, t.stmt.Constraint())
	if failed != nil || err != nil {
		return failed, err
	}
	r.ordered = in.UserCode || firstField(results[len(results)-1].Rows) == "t"
	isAux := make([]bool, len(of)+1) // 0 is no key
	if failed = markAll(isAux[1:], results[len(results)-2].Rows); failed != nil {
		return failed, nil
	}
	for i, n := range of {
		r.aux[i] = isAux[n]
	}
	return nil, nil
}

// question runs statements of ours between savepoints, and returns their results,
// but for that of the last one: what constraint name is called in the auxiliary table,
// where it is not "".
func (r *routedInsert) question(sql, name string) (results []bulk.Result, failed *pgerr.Error, err error) {
	t := r.t
	sql = setAsking + "; " + sql
	if name != "" {
		sql += "; " + t.insp.Routing.ConstraintSQL(t.insp, name)
	}
	r.asking = true
	results, err = r.in.Exec(t.s.ctx, sql+"; "+endAsking+"; "+setRouted)
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		failed, err = r.nativeError(e)
		return nil, failed, err
	}
	if err != nil {
		return nil, nil, err
	}
	r.asking, r.saved = false, true
	results = results[:len(results)-2]
	if name != "" {
		r.constraint = firstField(results[len(results)-1].Rows)
		results = results[:len(results)-1]
	}
	return results, nil, nil
}

// markAux marks the one whose number, from 1 on, a row of the server's answer has. A
// number that cannot be is an error: what is not marked goes to the main table.
func markAux(aux []bool, row [][]byte) *pgerr.Error {
	if len(row) == 1 {
		if n, err := strconv.Atoi(string(row[0])); err == nil && n > 0 && n <= len(aux) {
			aux[n-1] = true
			return nil
		}
	}
	return pgerr.New(pgerr.InternalError, "pgbulkproxy: the server answered with row %q of %d", row, len(aux))
}

// markAll is markAux for each row.
func markAll(aux []bool, rows [][][]byte) *pgerr.Error {
	for _, row := range rows {
		if e := markAux(aux, row); e != nil {
			return e
		}
	}
	return nil
}

// firstField is the first field of the first row, or "".
func firstField(rows [][][]byte) string {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return ""
	}
	return string(rows[0][0])
}

// nativeError returns what the server has against the client's own statement,
// which is undone in any case; else e, with which the question has failed.
func (r *routedInsert) nativeError(e *pgerr.Error) (failed *pgerr.Error, err error) {
	if isFinal(e) {
		return e.With('P', ""), nil
	}
	if _, err := r.in.Exec(r.t.s.ctx, undoAsking); err != nil {
		return nil, err
	}
	if failed, err = r.asIs(r.t.stmt.SQL); failed != nil || err != nil {
		return failed, err
	}
	r.raw, r.kept = false, nil
	return e.With('P', ""), nil
}
