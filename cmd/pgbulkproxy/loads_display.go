package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// display shows how far loads are.
type display interface {
	// show shows them as they are now.
	show(entries []checkpoint.Entry) error
	// close leaves the last state on the screen, and no goroutine.
	close()
}

// newDisplay draws bars on a terminal, and prints lines elsewhere.
func newDisplay(a *app, asJSON bool) display {
	width, height := terminalSize(a.stdout)
	if asJSON || height == 0 {
		return &lineDisplay{w: a.stdout, json: asJSON, shown: map[string]string{}}
	}
	return newBarDisplay(a.stdout, width, height)
}

// lineDisplay prints a line for each load that has changed.
type lineDisplay struct {
	w     io.Writer
	json  bool
	shown map[string]string // what was printed last, by process id
}

func (d *lineDisplay) show(entries []checkpoint.Entry) error {
	for i := len(entries) - 1; i >= 0; i-- { // the oldest first
		e := entries[i]
		text := fmt.Sprintf("%s\t%s\t%s\t%s", e.ProcessID, oneLine(e.Table), e.Status, amounts(e))
		if e.Error != "" {
			text += "\t" + oneLine(e.Error)
		}
		if d.shown[e.ProcessID] == text {
			continue
		}
		d.shown[e.ProcessID] = text
		var err error
		if d.json {
			err = printJSON(d.w, loadJSON{Entry: e})
		} else {
			_, err = fmt.Fprintln(d.w, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *lineDisplay) close() {}

// amounts says how much of a load is in the table.
func amounts(e checkpoint.Entry) string {
	return fmt.Sprintf("%d/%d files, %d/%d rows, %s/%s", e.FilesImported, e.FilesTotal,
		e.RecordsImported, e.Records, size(e.BytesImported), size(e.Bytes))
}

// barDisplay draws one bar a load, as many as fit; those that are over make room
// for others. The library draws from goroutines of its own, one for all and one
// a bar; close waits for them.
type barDisplay struct {
	progress *mpb.Progress
	slots    int
	wide     bool // room for whole ids and numbers of rows
	bars     map[string]*loadBar
	summary  *loadBar // where there are several loads
	began    time.Time
}

func newBarDisplay(w io.Writer, width, height int) *barDisplay {
	return &barDisplay{
		// The last line belongs to the cursor, and one to the sum of all.
		progress: mpb.New(mpb.WithOutput(w), mpb.WithRefreshRate(pollEvery/2), mpb.WithAutoRefresh()),
		slots:    max(height-2, 1),
		wide:     width >= 140,
		bars:     map[string]*loadBar{},
		began:    time.Now(),
	}
}

// loadBar is a bar with its texts, which the library reads while it draws.
type loadBar struct {
	bar        *mpb.Bar
	firstBytes int64 // what was in before we looked: no part of the rate
	mu         sync.Mutex
	head, tail string
	over       bool
}

func (d *barDisplay) newBar(priority int) *loadBar {
	b := &loadBar{}
	text := func(s *string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return *s
		}, decor.WCSyncSpaceR)
	}
	b.bar = d.progress.New(0, mpb.BarStyle(), mpb.PrependDecorators(text(&b.head)), mpb.AppendDecorators(text(&b.tail)),
		mpb.BarPriority(priority))
	return b
}

func (d *barDisplay) show(entries []checkpoint.Entry) error {
	var all checkpoint.Entry
	left := 0
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		all.FilesTotal, all.FilesImported = all.FilesTotal+e.FilesTotal, all.FilesImported+e.FilesImported
		all.Records, all.RecordsImported = all.Records+e.Records, all.RecordsImported+e.RecordsImported
		all.Bytes, all.BytesImported = all.Bytes+e.Bytes, all.BytesImported+e.BytesImported
		if e.Status == checkpoint.Running {
			left++
		}
		d.showLoad(e, len(entries))
	}
	if len(entries) > 1 {
		if d.summary == nil {
			d.summary = d.newBar(-1)
			d.summary.firstBytes = all.BytesImported
		}
		if all.Status = checkpoint.Running; left == 0 {
			all.Status = checkpoint.Completed
		}
		d.summary.set(fmt.Sprintf("%d of %d loads left", left, len(entries)), d.tail(all, d.summary), all)
	}
	return nil
}

// showLoad draws one of n loads, if there is room.
func (d *barDisplay) showLoad(e checkpoint.Entry, n int) {
	b := d.bars[e.ProcessID]
	if b == nil {
		if len(d.bars) >= d.slots || n > d.slots && e.Status != checkpoint.Running {
			return
		}
		b = d.newBar(0)
		b.firstBytes = e.BytesImported
		d.bars[e.ProcessID] = b
	}
	b.set(d.name(e), d.tail(e, b), e)
	if e.Status != checkpoint.Running && n > d.slots {
		b.bar.Abort(true)
		delete(d.bars, e.ProcessID)
	}
}

// name is the table and as much of the id as leaves room for a bar: its end,
// since ids of one minute begin alike.
func (d *barDisplay) name(e checkpoint.Entry) string {
	id := e.ProcessID
	if len(id) > 8 && !d.wide {
		id = "…" + id[len(id)-8:]
	}
	if d.wide {
		return oneLine(e.Table + " " + id)
	}
	// 24 columns leave a bar of some 15 on the narrowest usual terminal, 80.
	return cut(oneLine(e.Table), 24-len([]rune(id))-1) + " " + id
}

// tail is what stands behind the bar: files, rows, bytes, rate and the time left,
// or on a narrow terminal without rows.
func (d *barDisplay) tail(e checkpoint.Entry, b *loadBar) string {
	text := amounts(e)
	if !d.wide {
		text = fmt.Sprintf("%d/%d %s/%s", e.FilesImported, e.FilesTotal, size(e.BytesImported), size(e.Bytes))
	}
	return text + pace(e, e.BytesImported-b.firstBytes, time.Since(d.began))
}

// set changes what a bar shows.
func (b *loadBar) set(head, tail string, e checkpoint.Entry) {
	b.mu.Lock()
	b.head, b.tail = head, tail
	over := b.over
	b.over = e.Status != checkpoint.Running
	b.mu.Unlock()
	if over {
		return
	}
	b.bar.SetTotal(max(e.Bytes, 1), false)
	b.bar.SetCurrent(e.BytesImported)
	switch e.Status {
	case checkpoint.Running:
	case checkpoint.Completed:
		b.bar.SetTotal(max(e.Bytes, 1), true)
	default:
		b.bar.Abort(false)
	}
}

// pace is the rate and what is left of the time, or how the load ended. done
// is how many bytes were imported in the time since.
func pace(e checkpoint.Entry, done int64, since time.Duration) string {
	if e.Status != checkpoint.Running {
		return " " + string(e.Status)
	}
	seconds := since.Seconds()
	if done <= 0 || seconds <= 0 {
		return ""
	}
	rate := float64(done) / seconds
	text := " " + size(int64(rate)) + "/s"
	if left := e.Bytes - e.BytesImported; left > 0 {
		// More files may come as long as the client sends.
		text += " ETA " + took(time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	return text
}

func (d *barDisplay) close() {
	for _, b := range d.bars {
		b.bar.Abort(false)
	}
	if d.summary != nil {
		d.summary.bar.Abort(false)
	}
	d.progress.Wait()
}
