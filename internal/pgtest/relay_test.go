package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// startRelay serves one connection at a time between clients and the server,
// and lets alter change the server's messages. It returns its port.
//
// One goroutine accepts; per connection one copies to the server and one back.
// All end when the listener and the connections are closed after the test.
func startRelay(t *testing.T, server string, alter func(Message) []Message) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { relay(client, server, alter) })
		}
	})
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func relay(client net.Conn, server string, alter func(Message) []Message) {
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		_ = client.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(upstream, client)
		_ = upstream.Close()
	})
	relayBack(client, upstream, alter)
	_ = client.Close()
	both.Wait()
}

func relayBack(client io.Writer, upstream io.Reader, alter func(Message) []Message) {
	reader := bufio.NewReader(upstream)
	for {
		message, err := readMessage(reader)
		if err != nil {
			return
		}
		for _, m := range alter(message) {
			frame := binary.BigEndian.AppendUint32([]byte{m.Type}, uint32(4+len(m.Body)))
			if _, err := client.Write(append(frame, m.Body...)); err != nil {
				return
			}
		}
	}
}
