package wire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// chop gives pieces of sizes that seed decides, from 1 byte to all.
func chop(seed uint64) func(side int) int {
	most := []int{1, 3, 7, 100, 5000, 1 << 20}[seed%6]
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	return func(int) int {
		mu.Lock()
		defer mu.Unlock()
		return 1 + r.IntN(most)
	}
}

// conversations are what clients and servers say to each other; fuzzing begins
// with them.
var conversations = []struct{ client, server []byte }{
	{frames("Qselect 1$", "X"), frames("T$$", "D$$", "CSELECT 1$", "ZI")},
	{frames("Qcopy t from stdin$", "dabc\n", "dx\n", "c", "Qselect 1$"), frames("G$$$", "CCOPY 2$", "ZI", "CSELECT 1$", "ZI")},
	{frames("Qcopy t from stdin$", "fno$"), frames("G$$$", "E$", "ZI")},
	{frames("P$copy t from stdin$$$", "B$$$$$$$$", "DP$", "E$$$$$", "S", "dabc\n", "c", "S"), frames("1", "2", "n", "G$$$", "CCOPY 1$", "ZI")},
	{frames("Ps$copy t from stdin$$$", "S", "B$s$$$$$$", "E$$$$$", "S", "c", "S", "CSs$", "S"), frames("1", "ZI", "2", "G$$$", "CCOPY 0$", "ZI", "3", "ZI")},
	{frames("Ps$insert into t values ($1)$$$", "Bp$s$$$$$$", "Ep$$$$$", "CPp$", "H", "F$$$", "S", "p?"), frames("1", "2", "N$", "A$$$$$", "Sa$b$", "E$", "ZE")},
	{frames("?", "\xff", "Q"), []byte("Z\x00\x00\x00\x00ZIEnonsense")},
	{[]byte("Q\x00\x00\x00\x01abc"), frames("Z", "ZII", "ZI", "W$$$", "dx", "c")},
	{[]byte("Q\x7f\xff\xff\xffcopy t from stdin"), []byte("N\x00\x10\x00\x00abcdef")},
	{frames("Qcopy ("+strings.Repeat("x", 5000)+"$", "d"+strings.Repeat("y", 70000)), frames("E"+strings.Repeat("z", 70000), "D"+strings.Repeat("z", 70000), "ZI")},
	{frames("Q   /* " + strings.Repeat("-", 4100) + " */ copy t from stdin$"), frames("ZT")},
}

// checkRelay: without a loader, what one side sends is what the other gets.
func checkRelay(t *testing.T, client, server []byte, seed uint64) {
	t.Helper()
	everyWay(func(by way) {
		atServer, atClient := talk{toServer: client, toClient: server, pieces: chop(seed), by: by}.run(t)
		if !wholeOnly(client, atServer) {
			t.Errorf("the server got %q of %q", atServer, client)
		}
		if !wholeOnly(server, atClient) {
			t.Errorf("the client got %q of %q", atClient, server)
		}
	})
}

func TestRelay(t *testing.T) {
	t.Parallel()
	for i, c := range conversations {
		for seed := range uint64(6) {
			checkRelay(t, c.client, c.server, seed+6*uint64(i))
		}
	}
}

// TestRelayMuch moves more than all buffers hold, both ways at once.
func TestRelayMuch(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat(frame.Append(nil, 'd', bytes.Repeat([]byte("0123456789"), 777)), 2000)
	client := append(frames("Qcopy t from stdin$"), data...)
	server := append(frames("G$$$"), bytes.Repeat(frames("N$", "D"+strings.Repeat("x", 3000)), 2000)...)
	everyWay(func(by way) {
		atServer, atClient := talk{toServer: client, toClient: server, pieces: chop(5), by: by}.run(t)
		if !bytes.Equal(atServer, client) || !bytes.Equal(atClient, server) {
			t.Errorf("%d of %d bytes to the server, %d of %d to the client", len(atServer), len(client), len(atClient), len(server))
		}
	})
}

func FuzzSession(f *testing.F) {
	for i, c := range conversations {
		f.Add(c.client, c.server, uint64(i))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64) {
		checkRelay(t, client, server, seed)
	})
}
