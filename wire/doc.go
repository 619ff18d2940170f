// Package wire speaks PostgreSQL's protocol v3 to both sides: it relays a
// client's session to its one upstream session, and takes a COPY … FROM STDIN
// over where rewrite and bulk say so.
//
// It owns the connections, the order of what each side sees, and the protocol
// states in between. It never decides by itself whether a statement is staged,
// never keeps data of a load beyond the threshold, and never reads SQL but for
// the first words (rewrite.PrefilterHead).
//
// The life of one session:
//
//  1. handshake takes the connection to its first ReadyForQuery. A
//     CancelRequest goes to the session's load, or is forwarded.
//  2. An event loop relays (onloop.go), or where there is none, and for what is
//     not relaying, two goroutines do. The client pump walks over the frames that
//     one read brought (walkClient), pushes what the server will owe into the
//     reply queue, and writes them to the server in one piece. The server pump does the same the other way
//     (walkServer). Nothing is decoded.
//  3. A Query or Parse that starts with COPY stops the walk (intercept.go). The
//     session is brought to rest: the queue is idle, and the client has all that
//     it was owed.
//     Where the COPYs before with the same text were small it is relayed by the loop
//     instead, behind a short question (usualcopy.go).
//  4. An injector captures the server's replies and runs statements of ours
//     (exec.go): the lock and the inspection.
//  5. To pass means to write the client's frames to the server after all. To
//     stage means a copyTask: CopyInResponse from us, data held (copyhold.go),
//     then handed to a bulk.Load (copytask.go), and its outcome as the reply
//     (copyend.go).
//  6. An INSERT of many rows stays in the client's buffer while an insertTask
//     sends it on in another form (insert.go, insertstream.go, insertstage.go;
//     batch.go and batchrun.go for the extended protocol). Into a routed table it
//     is a routedInsert, in pieces (routed.go).
//  7. Where pgbulk.coalesce asks for it, consecutive INSERTs are answered and kept
//     as a run, which ends, and is sent, before any other message is looked at
//     (coalesce.go).
//  8. Relaying goes on.
//
// What the client must not see of the replies is marked in the reply queue
// (queue.go). Notifications and changed parameters that arrive meanwhile are
// kept for the next ReadyForQuery, where the server sends them natively.
//
// Locks: session.mu guards what both pumps and CancelRequests touch, and is
// never held while something blocks. onLoop.mu, taken before it, says who pumps;
// the loop holds it while it works for the session. A pump may wait for the other only through
// waitIdle and the injector's channel.
//
// To debug: log level debug says why statements pass, with the session's
// number; testdata/wire has scripts of what clients send, to be extended by the
// case at hand.
package wire
