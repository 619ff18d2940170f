package bulk

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// splitReplay is a replay where COPY has no WHERE: each table is sent its own rows
// alone, and the lines in its errors are counted anew.
type splitReplay struct {
	ld     *Load
	values *rewrite.CopyValues
	aux    []bool // of each group's number
}

// replaySplit is replay before PostgreSQL 12. Rows from the first one on of which the
// data does not tell the group are left out: if they are in error, e says so.
func (ld *Load) replaySplit(e *pgerr.Error) (*pgerr.Error, error) {
	in, c := ld.spec.Inspection, ld.spec.Statement
	s := &splitReplay{ld: ld, values: in.Routing.CopyValues(c, in)}
	if s.values == nil {
		return e, nil
	}
	if ok, err := s.ask(); !ok || err != nil {
		return e, err
	}
	best, first := e, int64(-1)
	if line, ok := errorLine(e, in.Table); ok {
		first = line
	}
	for i, sql := range c.NativeParts(in, nil) {
		err := s.copy(sql, i == 1)
		if ld.isStopped() {
			return e, nil
		}
		found := pgerr.As(err)
		if err != nil && found == nil {
			return nil, err
		}
		if found != nil && isReplayed(found) {
			table := [2]string{in.Table, in.Routing.Aux.Table}[i]
			line, ok := errorLine(found, table)
			shift := int64(0)
			if ok {
				if shift, err = s.shift(line, i == 1); err != nil {
					return e, nil
				}
			}
			if best == e && first < 0 || ok && (first < 0 || line+shift < first) {
				best = found.With('W', shiftLines(renameTable(found.Get('W'), table, in.Table), in.Table, shift))
				if ok {
					first = line + shift
				}
			}
		}
		if _, err := ld.exec(rollbackTo); err != nil {
			return nil, err
		}
	}
	return best, nil
}

const rollbackTo = "ROLLBACK TO SAVEPOINT pgbulkproxy"

// ask finds out which groups of the data are the auxiliary table's.
func (s *splitReplay) ask() (bool, error) {
	if err := s.each(func([]byte, bool, int32) error { return nil }); err != nil {
		return false, nil // the store, memory: nothing is known then
	}
	s.aux = make([]bool, maxReplayGroups+2) // of the one that ended it, too
	sql := rollbackTo
	if len(s.values.Keys.Elements) > 0 {
		sql += "; " + s.ld.spec.Inspection.Routing.AuxKeysSQL(s.ld.spec.Inspection, &s.values.Keys)
	}
	results, err := s.ld.exec(sql)
	if err != nil {
		return false, err
	}
	for _, row := range results[len(results)-1].Rows {
		n, err := strconv.Atoi(string(row[0]))
		if err != nil || n <= 0 || n >= len(s.aux) {
			return false, nil
		}
		s.aux[n] = true
	}
	return true, nil
}

// each calls take with the rows of the data, and with what is before them, up to the
// first one of which the group can't be told.
func (s *splitReplay) each(take func(row []byte, head bool, group int32) error) error {
	ld := s.ld
	for i, f := range ld.run.kept {
		size := f.size()
		if !ld.l.mem.Reserve(size) {
			return errNoMemory
		}
		err := s.eachOf(f, i == 0, size, take)
		ld.l.mem.Return(size)
		if errors.Is(err, rows.ErrIrregular) || errors.Is(err, errUntold) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNoMemory = errors.New("no memory to look at a file again")

func (s *splitReplay) eachOf(f *file, first bool, size int64, take func(row []byte, head bool, group int32) error) error {
	c := s.ld.spec.Statement
	data := make([]byte, 0, size)
	if c.Format == rewrite.FormatBinary {
		data = append(data, f.binaryHeader...)
	}
	if err := s.ld.eachByte(f, func(p []byte) error { data = append(data, p...); return nil }); err != nil {
		return err
	}
	column := rows.Column{Options: s.ld.spec.scanOptions(), Delimiter: c.Delimiter, Null: c.Null, At: s.values.At}
	if !first {
		column.HeaderLines = 0
	}
	return column.Rows(data, func(line []byte) error {
		if !first {
			return nil
		}
		return take(line, true, 0)
	}, func(value, row []byte) error {
		group, ok := s.values.Add(value)
		if !ok || group > maxReplayGroups {
			return errUntold
		}
		return take(row, false, group)
	})
}

// splitBytes are sent at once.
const splitBytes = 64 << 10

// copy sends one table's rows through a COPY.
func (s *splitReplay) copy(sql string, aux bool) error {
	ld := s.ld
	ld.busy.Store(true)
	defer ld.busy.Store(false)
	c, err := ld.sess.StartCopy(ld.ctx, sql)
	if err != nil {
		return err
	}
	var held []byte
	err = s.each(func(row []byte, head bool, group int32) error {
		if !head && s.aux[group] != aux {
			return nil
		}
		if held = append(held, row...); len(held) < splitBytes {
			return nil
		}
		err := c.Write(held)
		held = held[:0]
		return err
	})
	if err == nil {
		err = c.Write(held)
	}
	if err != nil && pgerr.As(err) == nil {
		// An end that makes the COPY fail says nothing of the data.
		ld.log.Warn("read staged files for an error's context", "error", err)
		_, end := c.End(ld.ctx, Frame{Type: 'f', Body: []byte("replay\x00")})
		if pgerr.As(end) == nil {
			return end
		}
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.End(ld.ctx, CopyDone())
	return err
}

// shift is by how much a line of one table's rows is a later one in all of the data.
func (s *splitReplay) shift(line int64, aux bool) (int64, error) {
	csv := s.ld.spec.Statement.Format == rewrite.FormatCSV
	all, part := lineCounter{csv: csv}, lineCounter{csv: csv}
	shift := int64(0)
	err := s.each(func(row []byte, head bool, group int32) error {
		all.add(row)
		if !head && s.aux[group] != aux {
			return nil
		}
		part.add(row)
		if shift = all.lines - part.lines; part.lines >= line {
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return 0, err
	}
	return shift, nil
}

var errFound = errors.New("found")

// lineCounter counts lines as COPY does: those within quotes, too, which end in \r until
// it has seen how lines end.
type lineCounter struct {
	csv   bool
	eol   []byte
	lines int64
}

func (c *lineCounter) add(row []byte) {
	c.lines++
	if !c.csv {
		return
	}
	text := bytes.TrimRight(row, "\r\n")
	eol := c.eol
	if eol == nil {
		eol = []byte{'\r'}
	}
	c.lines += int64(bytes.Count(text, eol))
	if end := row[len(text):]; c.eol == nil && len(end) > 0 {
		c.eol = slices.Clone(end[:1])
	}
}
