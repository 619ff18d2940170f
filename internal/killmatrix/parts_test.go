package killmatrix

import "testing"

// TestParts: uploads in parts that end in the middle leave nothing behind.
func TestParts(t *testing.T) {
	t.Parallel()
	for i, ack := range acks {
		if *rounds == 0 && (i+int(*seed%2))%2 == 0 {
			continue // the short run has one mode
		}
		t.Run(ack, func(t *testing.T) {
			t.Parallel()
			// The third file of a load is as large as files become, and does not go
			// up in one request.
			b := newBed(t, options{ack: ack, shared: true, clients: 2, most: 2, rows: 230000, parts: true, env: []string{"PGBULK_STAGE_FILE_BYTES=6MiB"}})
			places := []point{atUpload, beforeFinish, afterFinish}
			for r := range max(1, *rounds*len(places)) {
				k := r + i + int(*seed%12)
				b.round(places[k%len(places)], []action{killProxy, stopStore}[k/len(places)%2], r)
				if t.Failed() {
					return
				}
			}
		})
	}
}
