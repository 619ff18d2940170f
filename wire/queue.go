package wire

// The reply queue knows which replies the server still owes. It is pure: the
// client pump pushes one entry for each message before it is written to the
// server, and the server pump pops it when the reply passes by.
//
//	entry      pushed for          popped by
//	query      Query, FunctionCall ReadyForQuery
//	sync       Sync                ReadyForQuery
//	parse      Parse               ParseComplete
//	bind       Bind                BindComplete
//	describe   Describe            RowDescription or NoData
//	execute    Execute             CommandComplete, EmptyQueryResponse, PortalSuspended
//	close      Close               CloseComplete
//	guard      an Execute of ours  as execute; its ErrorResponse becomes another
//	copyEnd    CopyDone, CopyFail  discarded when it comes to the head
//	add        Execute             as execute; its tag is hidden, and added to that of …
//	sum        Execute             … the next of these
//
// After an ErrorResponse to an extended message the server ignores everything
// up to the next Sync, so the entries up to it are dropped. While the server is
// in copy-in mode it ignores Sync: those entries are dropped up to the copyEnd.
// If such a COPY fails, nobody can tell which Syncs were ignored: then the queue
// is lost.
//
// hideReady, hideReplies and hideCopyIn mark what the client must not see of an
// entry, because the proxy sent it and not the client.
type entry byte

const (
	entQuery entry = 1 + iota
	entSync
	entParse
	entBind
	entDescribe
	entExecute
	entClose
	entCopyEnd
	entGuard
	entAdd
	entSum

	entKind entry = 0x0f
	// hideReady: drop the ReadyForQuery (a Sync of ours).
	hideReady entry = 0x10
	// hideReplies: drop all replies but ErrorResponse and ReadyForQuery (a
	// COMMIT of ours in place of the client's Sync).
	hideReplies entry = 0x20
	// hideCopyIn: drop the CopyInResponse, which the client was already given.
	hideCopyIn entry = 0x40
	// hideError: drop an ErrorResponse, too (a Parse of ours whose error the
	// client meets when it uses the statement).
	hideError entry = 0x80
)

// maxQueue bounds the memory of one session's queue. A client that has more
// messages unanswered is relayed, and never intercepted again.
const maxQueue = 4 << 20

// replyQueue is the queue. The zero value is empty.
type replyQueue struct {
	ring       []entry
	head, size int
	// skipping: the server ignores messages until it sees a Sync.
	skipping bool
	// copying: the server is in copy-in mode, and no copyEnd was pushed yet: it
	// ignores Sync.
	copying bool
	// ignored: a Sync was dropped for the COPY at the head.
	ignored bool
	// lost: the queue does not know where it is; it stays so.
	lost bool
}

func (q *replyQueue) at(i int) entry { return q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *replyQueue) first() entry {
	if q.size == 0 {
		return 0
	}
	return q.ring[q.head]
}

func (q *replyQueue) pop() {
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.size--
}

// idle says that the server owes nothing.
func (q *replyQueue) idle() bool { return q.size == 0 && !q.skipping && !q.copying && !q.lost }

// push notes that a message is about to be written to the server.
func (q *replyQueue) push(e entry) {
	if q.lost {
		return
	}
	kind := e & entKind
	if q.skipping && kind != entSync {
		return
	}
	if q.copying {
		if kind == entCopyEnd {
			q.copying = false
		}
		q.ignored = q.ignored || kind == entSync
		return
	}
	if kind == entCopyEnd && q.size == 0 {
		return
	}
	q.skipping = q.skipping && kind != entSync
	if q.size == len(q.ring) && !q.grow() {
		return
	}
	q.ring[(q.head+q.size)&(len(q.ring)-1)] = e
	q.size++
}

func (q *replyQueue) grow() bool {
	if len(q.ring) >= maxQueue {
		*q = replyQueue{lost: true}
		return false
	}
	bigger := make([]entry, max(16, 2*len(q.ring)))
	for i := range q.size {
		bigger[i] = q.at(i)
	}
	q.ring, q.head = bigger, 0
	return true
}

// reply notes a message of the server, and says whether the client must not
// see it.
func (q *replyQueue) reply(typ byte) (hide bool) {
	if q.lost {
		return false
	}
	switch typ {
	case 'A', 'S', 'K', 'D', 'd', 't':
		return false
	}
	q.trim()
	switch typ {
	case 'N':
		return q.first()&hideReplies != 0
	case 'Z':
		return q.ready()
	case 'E':
		hide = q.first()&hideError != 0
		q.failed()
		return hide
	case 'G':
		hide = q.first()&hideCopyIn != 0
		if k := q.first() & entKind; k == entExecute || k == entQuery {
			q.dropSyncs()
		}
		return hide
	case 'C':
		q.ignored = false // the COPY has ended well
	}
	e := q.first()
	if answers(e&entKind, typ) {
		q.pop()
		q.trim()
	}
	return e&hideReplies != 0 || e&entKind == entAdd && typ == 'C'
}

// trim drops copyEnd entries at the head: nothing answers them.
func (q *replyQueue) trim() {
	for q.size > 0 && q.first()&entKind == entCopyEnd {
		q.pop()
	}
}

// answers says whether a message of the server is the one that ends an entry
// of the extended protocol.
func answers(kind entry, typ byte) bool {
	switch kind {
	case entParse:
		return typ == '1'
	case entBind:
		return typ == '2'
	case entClose:
		return typ == '3'
	case entDescribe:
		return typ == 'T' || typ == 'n'
	case entExecute, entGuard, entAdd, entSum:
		return typ == 'C' || typ == 'I' || typ == 's'
	}
	return false
}

// ready handles ReadyForQuery: it answers the query or sync at the head.
func (q *replyQueue) ready() (hide bool) {
	e := q.first()
	if k := e & entKind; k != entQuery && k != entSync {
		// Not what this queue expects: it must have missed something, and a
		// wrong guess would be worse than never intercepting again.
		*q = replyQueue{lost: true}
		return false
	}
	q.pop()
	q.trim()
	return e&hideReady != 0
}

// failed handles ErrorResponse.
func (q *replyQueue) failed() {
	k := q.first() & entKind
	if k == entSync || q.size == 0 {
		return
	}
	if q.ignored {
		*q = replyQueue{lost: true}
		return
	}
	q.copying = false
	if k == entQuery {
		return
	}
	for q.size > 0 && q.first()&entKind != entSync {
		q.pop()
	}
	q.skipping = q.size == 0
}

// dropSyncs handles a CopyInResponse to the entry at the head: the server
// ignores every Sync that it reads before the end of the copy. That copyEnd is
// dropped too, since one Query may hold several COPYs.
func (q *replyQueue) dropSyncs() {
	kept := 1
	for i := 1; i < q.size; i++ {
		e := q.at(i)
		if e&entKind == entCopyEnd {
			for i++; i < q.size; i++ {
				q.set(kept, q.at(i))
				kept++
			}
			q.size = kept
			return
		}
		if e&entKind == entSync {
			q.ignored = true
			continue
		}
		q.set(kept, e)
		kept++
	}
	q.size = kept
	q.copying = true
}

func (q *replyQueue) set(i int, e entry) { q.ring[(q.head+i)&(len(q.ring)-1)] = e }
