package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
)

const (
	dataTable = "bench_rows"
	// dataColumns and dataQuery make rows of about 100 bytes of text, the same
	// ones on every machine: NULLs, an empty string, and characters that text
	// and csv have to escape among plain values.
	dataColumns = "id bigint, quantity int, customer text, price float8, ordered_at timestamptz, paid bool, note text"
	dataQuery   = `select g,
		(g * 7919) %% 100000,
		'customer-' || (g * 31) %% 1000003,
		((g * 104729) %% 10000000) / 1000.0::float8,
		timestamptz '2024-01-01 00:00:00+00' + g * interval '1.5 seconds',
		g %% 3 = 0,
		case when g %% 17 = 0 then null
			when g %% 101 = 0 then ''
			when g %% 53 = 0 then E'tab\t, "quote", back\\slash and\nline ' || g
			else md5(g::text) end
		from generate_series(1, %d::bigint) g`
	// dataVersion changes with the two above, so that no older cache is used.
	dataVersion = 1
)

// formats are those of COPY that the data set is kept in.
var formats = [...]string{"text", "csv", "binary"}

// dataset is the same rows as files in all formats.
type dataset struct {
	base    string
	content content
	sizes   map[string]int64
}

// manifest stands beside the files; it is written last, so files without one
// are incomplete.
type manifest struct {
	Content content          `json:"content"`
	Sizes   map[string]int64 `json:"sizes"`
}

func (d *dataset) path(format string) string { return d.base + "." + format }

func (d *dataset) manifestPath() string { return d.base + ".json" }

// dataset returns the data set, from the cache directory if it is there, and
// makes the table that it is loaded into.
func (l *lab) dataset(ctx context.Context) (*dataset, error) {
	if l.data == nil {
		d, err := l.datasetOf(ctx, l.opts.Rows)
		if err != nil {
			return nil, err
		}
		l.data = d
	}
	return l.data, nil
}

// datasetOf is dataset for another number of rows.
func (l *lab) datasetOf(ctx context.Context, rows int) (*dataset, error) {
	if err := os.MkdirAll(l.opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache directory: %w", err)
	}
	// Hash sums are the server's own, so its major version is part of the name.
	major, _, _ := strings.Cut(l.cluster.version, ".")
	d := &dataset{base: filepath.Join(l.opts.Dir, fmt.Sprintf("rows-v%d-pg%s-%d", dataVersion, major, rows))}
	found, err := d.open()
	if err != nil {
		return nil, err
	}
	if !found {
		l.progress("  making %d rows in %s", rows, l.opts.Dir)
		if err := d.make(ctx, l.cluster, rows); err != nil {
			return nil, fmt.Errorf("make data set: %w", err)
		}
	}
	return d, nil
}

// open reads the manifest and reports whether the files are as it says.
func (d *dataset) open() (bool, error) {
	b, err := os.ReadFile(d.manifestPath())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read data set: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return false, fmt.Errorf("read data set %s: %w", d.manifestPath(), err)
	}
	for _, format := range formats {
		info, err := os.Stat(d.path(format))
		if err != nil || info.Size() != m.Sizes[format] {
			return false, nil
		}
	}
	d.content, d.sizes = m.Content, m.Sizes
	return true, nil
}

// make has the server generate the rows and write them out in every format.
func (d *dataset) make(ctx context.Context, c *cluster, rows int) error {
	if err := c.createTable(ctx, dataTable, dataColumns, ""); err != nil {
		return err
	}
	if err := c.exec(ctx, fmt.Sprintf("insert into "+dataTable+" "+dataQuery, rows)); err != nil {
		return err
	}
	var err error
	if d.content, err = c.content(ctx, dataTable); err != nil {
		return err
	}
	d.sizes = map[string]int64{}
	for _, format := range formats {
		if d.sizes[format], err = c.copyTo(ctx, d.path(format), dataTable, format); err != nil {
			return fmt.Errorf("write %s: %w", format, err)
		}
	}
	b, err := json.MarshalIndent(manifest{Content: d.content, Sizes: d.sizes}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(d.manifestPath(), b, 0o644)
}

// copyTo writes a table to a file and returns its size.
func (c *cluster) copyTo(ctx context.Context, path, table, format string) (size int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := c.admin.PgConn().CopyTo(ctx, f, fmt.Sprintf("copy %s to stdout (format %s)", table, format)); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// sumTimes is the hash sum of a table that holds the rows so many times.
func (c content) sumTimes(n int64) (string, error) {
	sum, ok := new(big.Int).SetString(c.Sum, 10)
	if !ok {
		return "", fmt.Errorf("%q is no hash sum", c.Sum)
	}
	return sum.Mul(sum, big.NewInt(n)).String(), nil
}

// metaQuote quotes a file name for psql's backslash commands.
func metaQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
}
