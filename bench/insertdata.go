package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

const (
	// insertTable is what the INSERT scenarios fill, sourceTable holds the rows
	// that they fill it with. Both have the columns of the data set.
	insertTable = "bench_insert"
	sourceTable = "bench_insert_rows"
	// insertInto begins every INSERT.
	insertInto = "insert into " + insertTable + " (id, quantity, customer, price, ordered_at, paid, note) values"
)

// insertData is the rows of the INSERT scenarios, and the scripts that insert
// them, each made when first asked for.
type insertData struct {
	rows     int
	cluster  *cluster
	dir      string
	contents map[int]content
	scripts  map[scriptShape]string
	copyFile string
}

// scriptShape is the first so many rows in INSERTs of so many rows each.
type scriptShape struct{ rows, perInsert int }

// insertData makes the tables once for all scenarios: in the source table the
// first --insert-rows rows of the data set.
func (l *lab) insertData(ctx context.Context) (*insertData, error) {
	if l.insert != nil {
		return l.insert, nil
	}
	for _, table := range []string{insertTable, sourceTable} {
		if err := l.cluster.createTable(ctx, table, dataColumns, ""); err != nil {
			return nil, err
		}
	}
	if err := l.cluster.exec(ctx, fmt.Sprintf("insert into "+sourceTable+" "+dataQuery, l.opts.InsertRows)); err != nil {
		return nil, err
	}
	l.insert = &insertData{
		rows: l.opts.InsertRows, cluster: l.cluster, dir: l.tmp,
		contents: map[int]content{}, scripts: map[scriptShape]string{},
	}
	return l.insert, nil
}

// content is what the insert table has to hold after the first so many rows.
func (d *insertData) content(ctx context.Context, rows int) (content, error) {
	if c, ok := d.contents[rows]; ok {
		return c, nil
	}
	c, err := d.cluster.content(ctx, fmt.Sprintf("(select * from %s where id <= %d)", sourceTable, rows))
	if err == nil {
		d.contents[rows] = c
	}
	return c, err
}

// filled makes a load that starts with an empty table and has every row checked
// out of what is itself only a function that inserts and tells how long it took.
func (d *insertData) filled(rows int, insert func(context.Context) (time.Duration, error)) func(context.Context) ([]float64, error) {
	return func(ctx context.Context) ([]float64, error) {
		want, err := d.content(ctx, rows)
		if err != nil {
			return nil, err
		}
		if err := d.cluster.empty(ctx, insertTable); err != nil {
			return nil, err
		}
		took, err := insert(ctx)
		if err != nil {
			return nil, err
		}
		return []float64{took.Seconds()}, d.cluster.verify(ctx, insertTable, want, 1)
	}
}

// values returns all rows as pgx gives them.
func (d *insertData) values(ctx context.Context) ([][]any, error) {
	rows, err := d.cluster.admin.Query(ctx, "select * from "+sourceTable+" order by id")
	if err != nil {
		return nil, fmt.Errorf("read the rows to insert: %w", err)
	}
	defer rows.Close()
	all := make([][]any, 0, d.rows)
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, fmt.Errorf("read the rows to insert: %w", err)
		}
		all = append(all, values)
	}
	return all, rows.Err()
}

// copyText returns a file of all rows for COPY in text format.
func (d *insertData) copyText(ctx context.Context) (string, error) {
	if d.copyFile == "" {
		path := filepath.Join(d.dir, "insert.text")
		if _, err := d.cluster.copyTo(ctx, path, sourceTable, "text"); err != nil {
			return "", fmt.Errorf("write the rows to insert: %w", err)
		}
		d.copyFile = path
	}
	return d.copyFile, nil
}

// script returns a file of INSERTs with literals, as the server itself would
// write them.
func (d *insertData) script(ctx context.Context, shape scriptShape) (string, error) {
	if path, ok := d.scripts[shape]; ok {
		return path, nil
	}
	path := filepath.Join(d.dir, fmt.Sprintf("insert-%d-%d.sql", shape.rows, shape.perInsert))
	if err := writeFile(path, func(w io.Writer) error { return d.cluster.writeInserts(ctx, w, shape) }); err != nil {
		return "", fmt.Errorf("write INSERT script: %w", err)
	}
	d.scripts[shape] = path
	return path, nil
}

// constantsQuery gives each row as the constants of a VALUES list.
const constantsQuery = `select pg_catalog.format('(%s,%s,%L,%s,%L,%L,%L)', id, quantity, customer, price, ordered_at, paid, note)
	from ` + sourceTable + ` where id <= $1 order by id`

func (c *cluster) writeInserts(ctx context.Context, w io.Writer, shape scriptShape) error {
	rows, err := c.admin.Query(ctx, constantsQuery, shape.rows)
	if err != nil {
		return err
	}
	defer rows.Close()
	out := bufio.NewWriter(w)
	for n := 0; rows.Next(); n++ {
		switch {
		case n%shape.perInsert != 0:
			out.WriteString(",\n")
		case n > 0:
			out.WriteString(";\n")
			fallthrough
		default:
			out.WriteString(insertInto + "\n")
		}
		out.Write(rows.RawValues()[0])
	}
	if err := rows.Err(); err != nil {
		return err
	}
	out.WriteString(";\n")
	// A bufio.Writer keeps its first error for Flush.
	return out.Flush()
}
