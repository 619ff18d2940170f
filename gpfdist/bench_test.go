package gpfdist

import (
	"fmt"
	"testing"
)

// BenchmarkPull is rows through loopback by two segments, in blocks of several
// sizes.
func BenchmarkPull(b *testing.B) {
	for _, kib := range []int{16, 64, 256, 1024} {
		b.Run(fmt.Sprintf("%dKiB", kib), func(b *testing.B) {
			s := newServer(b, Config{})
			data := make([]byte, kib<<10)
			for i := range data {
				data[i] = "0123456789\n"[i%11]
			}
			const blocks = 64 << 20
			perRun := int64(blocks / len(data))
			b.SetBytes(perRun * int64(len(data)))
			for b.Loop() {
				pullOnce(b, s, data, perRun)
			}
		})
	}
}

func pullOnce(b *testing.B, s *Server, data []byte, blocks int64) {
	st, path := newStream(b, s)
	defer st.Close()
	read := make(chan int64, 2)
	for i := range 2 {
		p := dial(b, s, ask{path: path, segment: i, of: 2}.text())
		go func() {
			var n int64
			_ = p.drain(func(g got) { n += int64(len(g.data)) })
			read <- n
		}()
	}
	for range blocks {
		if err := st.Add(b.Context(), Block{Data: plainBytes(data), Size: int64(len(data)), Rows: 1, Line: 1}); err != nil {
			b.Fatal(err)
		}
	}
	st.Finish()
	if n := <-read + <-read; n != blocks*int64(len(data)) {
		b.Fatalf("%d bytes came", n)
	}
}
