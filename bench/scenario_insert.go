package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
)

const (
	// insertTable has the columns of the data set; it holds the first
	// insertRows rows of it.
	insertTable = "bench_insert"
	// insertRows is small beside --rows because INSERT is several times slower.
	insertRows = 200_000
	// insertBatch is what ORMs send at most in one statement.
	insertBatch = 1000
)

// insertLoad measures a script of multi-row INSERTs in one transaction.
type insertLoad struct{ engine string }

func (s insertLoad) scenario() scenario {
	return scenario{
		name:    "insert-" + s.engine,
		summary: fmt.Sprintf("psql -f with INSERTs of %d rows each in one transaction, engine %s", insertBatch, s.engine),
		run:     s.run,
	}
}

func (s insertLoad) run(ctx context.Context, l *lab) ([]Result, error) {
	script, err := l.insertScript(ctx)
	if err != nil {
		return nil, err
	}
	px, err := l.startProxy(ctx, s.engine)
	if err != nil {
		return nil, err
	}
	defer px.stop()
	load := func(ep endpoint) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) {
			if err := l.cluster.empty(ctx, insertTable); err != nil {
				return nil, err
			}
			_, took, err := l.clients.run(ctx, ep, "", nil, "psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", script.path)
			if err != nil {
				return nil, err
			}
			return []float64{took.Seconds()}, l.cluster.verify(ctx, insertTable, script.content, 1)
		}
	}
	results, err := l.alternate(ctx, "INSERT", []measure{{s.scenario().name, "s", lower}}, []way{
		{"direct", load(l.cluster.endpoint)},
		{"proxied", px.watched(load(px.endpoint))},
	})
	if err != nil {
		return nil, err
	}
	results[0].compare("proxied", "direct")
	results[0].PeakRSS = px.peak
	return results, nil
}

// insertScript is a file of INSERTs and what they put into insertTable.
type insertScript struct {
	path    string
	content content
}

// insertScript makes the script once for all its scenarios: the first
// insertRows rows of the data set as the server itself would write constants.
func (l *lab) insertScript(ctx context.Context) (*insertScript, error) {
	if l.insert != nil {
		return l.insert, nil
	}
	if err := l.cluster.createTable(ctx, insertTable, dataColumns, ""); err != nil {
		return nil, err
	}
	if err := l.cluster.exec(ctx, fmt.Sprintf("insert into "+insertTable+" "+dataQuery, insertRows)); err != nil {
		return nil, err
	}
	want, err := l.cluster.content(ctx, insertTable)
	if err != nil {
		return nil, err
	}
	s := &insertScript{path: filepath.Join(l.tmp, "insert.sql"), content: want}
	err = writeFile(s.path, func(w io.Writer) error { return l.cluster.writeInserts(ctx, w) })
	if err != nil {
		return nil, fmt.Errorf("write INSERT script: %w", err)
	}
	l.insert = s
	return s, nil
}

// constantsQuery gives each row as the constants of a VALUES list.
const constantsQuery = `select pg_catalog.format('(%s,%s,%L,%s,%L,%L,%L)', id, quantity, customer, price, ordered_at, paid, note)
	from ` + insertTable + ` order by id`

func (c *cluster) writeInserts(ctx context.Context, w io.Writer) error {
	rows, err := c.admin.Query(ctx, constantsQuery)
	if err != nil {
		return err
	}
	defer rows.Close()
	out := bufio.NewWriter(w)
	for n := 0; rows.Next(); n++ {
		switch {
		case n%insertBatch != 0:
			out.WriteString(",\n")
		case n > 0:
			out.WriteString(";\n")
			fallthrough
		default:
			out.WriteString("insert into " + insertTable + " (id, quantity, customer, price, ordered_at, paid, note) values\n")
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
