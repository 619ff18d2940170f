package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

// memoryTable is UNLOGGED: the proxy's memory is measured, not the server, and
// so the disk has to hold the rows once only.
const memoryTable = "bench_memory"

// memory measures the proxy's peak memory for loads of growing size, which
// must not grow with them.
type memory struct{ engine string }

func (s memory) scenario() scenario {
	return scenario{
		name:    "memory-" + s.engine,
		summary: "peak memory of the proxy for COPYs of the sizes of --memory, engine " + s.engine,
		run:     s.run,
	}
}

func (s memory) run(ctx context.Context, l *lab) ([]Result, error) {
	if l.opts.NoProxy {
		return nil, skipError("there is no proxy whose memory could be measured")
	}
	data, err := l.dataset(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.cluster.createTable(ctx, memoryTable, dataColumns, "unlogged"); err != nil {
		return nil, err
	}
	defer func() {
		// Only disk space is lost if this fails, and the cluster goes anyway.
		_ = l.cluster.exec(context.WithoutCancel(ctx), "drop table if exists "+memoryTable)
	}()
	res := Result{Name: s.scenario().name, Group: "Memory", Unit: "MiB", Better: lower}
	for _, size := range l.opts.Memory {
		peak, err := s.load(ctx, l, data, size)
		if err != nil {
			return nil, fmt.Errorf("load %g GB: %w", size, err)
		}
		res.add(fmt.Sprintf("%g GB", size), []float64{float64(peak) / (1 << 20)})
		res.PeakRSS = max(res.PeakRSS, peak)
		l.progress("  %g GB: peak %d MiB", size, peak>>20)
	}
	if n := len(res.Series); n > 1 {
		res.compare(res.Series[n-1].Name, res.Series[0].Name)
	}
	return []Result{res}, nil
}

// load sends at least so many GB of text through a proxy of its own, since the
// memory that one load left behind would count for the next.
func (s memory) load(ctx context.Context, l *lab, data *dataset, gigabytes float64) (int64, error) {
	px, err := l.startProxy(ctx, s.engine)
	if err != nil {
		return 0, err
	}
	defer px.stop()
	if err := l.cluster.empty(ctx, memoryTable); err != nil {
		return 0, err
	}
	size := data.sizes["text"]
	times := int64(gigabytes*1e9/float64(size)) + 1
	src := &repeated{path: data.path("text"), times: times}
	defer src.Close()
	if err := resetPeak(px.pid()); err != nil {
		return 0, err
	}
	if _, err := l.clients.psql(ctx, px.endpoint, "", src, "copy "+memoryTable+" from stdin"); err != nil {
		return 0, err
	}
	peak, err := peakRSS(px.pid())
	if err != nil {
		return 0, err
	}
	return peak, l.cluster.verify(ctx, memoryTable, data.content, times)
}

// repeated reads the same file several times over.
type repeated struct {
	path  string
	times int64
	file  *os.File
}

func (r *repeated) Read(p []byte) (int, error) {
	for {
		if r.file == nil {
			if r.times <= 0 {
				return 0, io.EOF
			}
			f, err := os.Open(r.path)
			if err != nil {
				return 0, err
			}
			r.file, r.times = f, r.times-1
		}
		n, err := r.file.Read(p)
		if n > 0 || err == nil {
			return n, nil
		}
		if closeErr := r.Close(); err != io.EOF || closeErr != nil {
			return 0, err
		}
	}
}

// Close closes the file that is being read, if any; Read then goes on with the
// next repetition.
func (r *repeated) Close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}
