package wire

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/engine/plain"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// noDatabases knows no database: everything is staged beside a native COPY.
type noDatabases struct{}

// Lookup implements bulk.Databases.
func (noDatabases) Lookup(context.Context, string, bool) (*bulk.Database, rewrite.Reason) {
	return nil, rewrite.ReasonNotInstalled
}

// sink is a store that takes everything and keeps nothing.
type sink struct{ store.Store }

func (sink) Put(context.Context, string, store.Content) error { return nil }

func (sink) Delete(context.Context, ...string) error { return nil }

func (sink) URL(key string) string { return "s3://sink/" + key }

func newTestLoader() *bulk.Loader {
	return bulk.NewLoader(bulk.Config{FileBytes: 100, KeepAll: true}, bulk.Deps{
		Store: sink{}, URLs: sink{}, Engine: plain.New(), Databases: noDatabases{},
		Memory: bulk.NewMemory(8<<20, false, ""), Log: slog.New(slog.DiscardHandler),
		Sweeper: bulk.NewSweeper(sink{}, 0, time.Minute, nil, slog.New(slog.DiscardHandler)),
	})
}

// inspectionFrame is the DataRow with which a server answers the inspection of
// a plain table.
func inspectionFrame() []byte {
	settings := []string{"150000", "off", "read committed", "on", "0", "0", "0", "0", "", "", "", "", "", "", "on", ""}
	row, err := json.Marshal(map[string]any{
		"settings": settings, "client_encoding": "UTF8", "server_encoding": "UTF8", "role": "u", "session_user": "u",
		"database": "d", "pid": 1, "found": map[string]any{
			"oid": 99999, "kind": "r", "schema": "public", "table": "t", "persistence": "p", "columns": []string{"  a"},
			"insert": true, "insert_columns": true,
		},
	})
	if err != nil {
		panic(err)
	}
	text := hex.EncodeToString(row)
	body := []byte{0, 1}
	body = append(body, byte(len(text)>>24), byte(len(text)>>16), byte(len(text)>>8), byte(len(text)))
	return frame.Append(nil, 'D', append(body, text...))
}

// opened answers the statement that opens a load.
func opened() []byte {
	out := frames("CBEGIN$", "CLOCK TABLE$", "T$$")
	out = append(out, inspectionFrame()...)
	return append(out, frames("CSELECT 1$", "ZT")...)
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// hostile are conversations with a proxy that stages; in each a byte of the
// server's may be anything.
var hostile = []struct{ client, server []byte }{
	{
		frames("Qcopy t from stdin$", "da\nb\n", "dc\n", "c", "Qselect 1$", "X"),
		join(opened(), frames("G$$$", "CCOPY 3$", "ZT", "CCOMMIT$", "ZI", "CSELECT 1$", "ZI")),
	},
	{
		frames("P$copy t from stdin$$$", "B$$$$$$$$", "DP$", "E$$$$$", "S", "da\n", "c", "S", "Qselect 1$"),
		join(frames("1", "ZI"), opened(), frames("G$$$", "CCOPY 1$", "ZT", "1", "ZT", "CCOMMIT$", "ZI", "1", "ZI", "CSELECT 1$", "ZI")),
	},
	{
		frames("Qcopy t from stdin$", "da\n", "fno$"),
		join(opened(), frames("G$$$", "ESERROR$C57014$Mno$$", "ZE", "CROLLBACK$", "ZI")),
	},
	{
		frames("Qcopy t from stdin$", "da\n", "c"),
		join(opened(), frames("G$$$", "N$", "A$$$$$", "Sa$b$", "ESFATAL$VFATAL$C57P01$Mbye$$")),
	},
	{
		frames("Qcopy t from stdin$", "da\n", "Qselect 1$"),
		join(opened(), frames("G$$$", "ESERROR$C08P01$Mno$$", "ESFATAL$VFATAL$C08P01$Mno$$")),
	},
	{
		frames("Qcopy t from stdin$", "c", "Qcopy t from stdin$", "c"),
		join(frames("ESERROR$C42P01$$", "ZE", "CROLLBACK$", "ZI", "ESERROR$C42P01$$", "ZI"), opened(), frames("CROLLBACK$", "ZI", "G$$$", "CCOPY 0$", "ZI")),
	},
}

// checkHostile: whatever both sides say, the session ends, and so does all that
// it has started.
func checkHostile(t *testing.T, client, server []byte, seed uint64) {
	t.Helper()
	everyWay(func(by way) {
		loader := newTestLoader()
		talk{toServer: client, toClient: server, pieces: chop(seed), patience: 10 * time.Millisecond, loader: loader, by: by}.run(t)
		loader.Close()
	})
}

func TestHostile(t *testing.T) {
	t.Parallel()
	for i, c := range hostile {
		for seed := range uint64(6) {
			checkHostile(t, c.client, c.server, seed)
		}
		// Each server's word cut, at every place.
		for cut := 0; cut < len(c.server); cut += 1 + len(c.server)/60 {
			checkHostile(t, c.client, c.server[:cut], uint64(i+cut))
		}
	}
}

// TestStagedInProcess: with answers that come when they are due, a scripted
// server gets the whole of a COPY, and the client its tag.
func TestStagedInProcess(t *testing.T) {
	t.Parallel()
	everyWay(func(by way) { checkStaged(t, by) })
}

func checkStaged(t *testing.T, by way) {
	t.Helper()
	c := hostile[0]
	loader := newTestLoader()
	atServer, atClient := talk{toServer: c.client, toClient: c.server, pieces: chop(5), patience: 10 * time.Second, loader: loader, by: by}.run(t)
	loader.Close()
	if text := string(atServer); !strings.Contains(text, "BEGIN; LOCK TABLE ONLY") || !strings.Contains(text, "copy t from stdin") || !strings.Contains(text, "a\nb\n") {
		t.Errorf("the server got %q", text)
	}
	if want := fmt.Sprintf("%q", frames("G\x00\x00\x01\x00\x00", "CCOPY 3$", "ZI", "CSELECT 1$", "ZI")); fmt.Sprintf("%q", atClient) != want {
		t.Errorf("the client got %q, not %s", atClient, want)
	}
}

func FuzzHostile(f *testing.F) {
	for i, c := range hostile {
		f.Add(c.client, c.server, uint64(i))
	}
	for i, c := range conversations {
		f.Add(c.client, c.server, uint64(i))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64) {
		checkHostile(t, client, server, seed)
	})
}
