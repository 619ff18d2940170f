// Package gpfdist is the server's side of the gpfdist protocol, by which the
// segments of a Greenplum or Cloudberry database pull rows over HTTP into an
// external table.
//
// It owns: the listener, the tokens, the protocol's headers and frames, and who
// of the segments is given which block. It never looks into the rows, never keeps
// them, never logs a token, and never decides whether a load succeeded: the
// count of rows in the transaction does.
//
// The life of one stream:
//
//  1. Server.Open makes a stream with a token of 128 random bits; Stream.URL goes
//     into the LOCATION of an external table.
//  2. Each segment sends one GET for it. The headers name the scan (transaction,
//     command, number of the scan) and the segment. The first request binds the
//     stream to its scan: rows can be pulled once.
//  3. Stream.Add hands over a block of whole rows, and waits until a segment takes
//     it. Whichever is ready takes the next one, so that a slow segment slows
//     nobody down, and one that does not read is back-pressure: Add waits.
//  4. A block goes out as frames: F the name, O the offset, L the number of its
//     first line, D the rows. The server counts lines on from there, so its errors
//     and its error log name the client's line.
//  5. Finish says that there are no more blocks: every segment is sent an empty D
//     frame, which is the end. One that comes only now gets just that.
//  6. Close forgets the token, ends what is still connected, and waits for it:
//     behind Close nobody reads a block any more.
//
// Segments that take nothing of what there is for them, for Config.Patience, fail the
// stream with ErrStalled; that a client sends nothing is no matter.
//
// What goes wrong: a segment that leaves after it was given rows may or may not
// have them, so the stream fails, and so does Add; the others are sent an E frame,
// which is an error of the server's statement. A segment that left before it was
// given any may come again. A second scan, a segment that comes a second time
// after it had rows, a request without a token or with headers that make no sense
// get an HTTP error, and no row. A server whose statement ends well may still have
// lost rows (it decides alone what it reads to the end): compare the counts.
//
// Who may pull: whoever has the token, while the load runs. There is no TLS; the
// rows travel as they do from the original gpfdist, so this belongs on the
// database's own network.
//
// To debug it, ask the database: its error says "gpfdist error - " and the reason
// of the E frame, or "http response code" and ours. At level debug each segment
// is a line with the session's name, its number, rows and bytes.
package gpfdist
