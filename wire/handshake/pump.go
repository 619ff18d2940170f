package handshake

import (
	"errors"
	"sync/atomic"
)

// ask is one request of the upstream that the client has to answer.
type ask struct {
	// optional: the last token of GSSAPI needs no answer, and nothing in the
	// message says that it is the last.
	optional bool
	// stripped: the answer may complain that channel binding is missing.
	stripped bool
}

// pump relays the client's answers, one for each ask, in its own goroutine. It
// consumes nothing else, so what a client sends ahead stays in its buffer.
type pump struct {
	client, server *leg
	guard          *guard
	asks           chan ask
	stop           chan struct{}
	done           chan error
	waiting        atomic.Bool // the client owes an answer
}

// startPump starts the goroutine. halt ends it and waits for it.
func startPump(client, server *leg, g *guard) *pump {
	p := &pump{
		client: client, server: server, guard: g,
		asks: make(chan ask, 1), stop: make(chan struct{}), done: make(chan error, 1),
	}
	go func() {
		err := p.run()
		if err != nil {
			g.expire() // wakes the reader of the upstream
		}
		p.done <- err
	}()
	return p
}

// expect says that the upstream asked. It returns false if an earlier request
// but one is unanswered: no method does that.
func (p *pump) expect(a ask) bool {
	p.waiting.Store(true)
	select {
	case p.asks <- a:
		return true
	default:
		return false
	}
}

// halt ends the goroutine and returns its error, nil if it had nothing to
// complain of. It must be called once.
func (p *pump) halt() error {
	close(p.stop)
	p.guard.wake(p.client.raw)
	err := <-p.done
	p.guard.rest(p.client.raw)
	return err
}

func (p *pump) run() error {
	for {
		// Waiting here without an ask too is what notices that the client left.
		head, err := p.client.r.Peek(1)
		if err != nil {
			return p.readError(err)
		}
		var a ask
		select {
		case a = <-p.asks:
		case <-p.stop:
			return nil
		}
		if head[0] != typeAuthAnswer && a.optional {
			if head[0] == typeTerminate {
				return clientGone(errors.New("terminated"))
			}
			return nil
		}
		if err := p.forward(a); err != nil {
			return err
		}
	}
}

func (p *pump) forward(a ask) error {
	msg, err := readFrame(p.client.r, nil, clientLimit)
	if errors.Is(err, errLength) {
		return clientBroke(err)
	}
	if err != nil {
		return p.readError(err)
	}
	p.waiting.Store(false)
	if a.stripped && msg[0] == typeAuthAnswer && wantsBinding(msg) {
		return bindingRefused()
	}
	if _, err := p.server.conn.Write(msg); err != nil {
		return upstreamLost("did not take the client's answer", err)
	}
	return nil
}

// readError is nil if it was halt that ended the read.
func (p *pump) readError(err error) error {
	select {
	case <-p.stop:
		if isTimeout(err) {
			return nil
		}
	default:
	}
	return clientGone(err)
}
