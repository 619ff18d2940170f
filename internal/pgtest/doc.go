// Package pgtest compares what a client sees through the proxy with what it
// sees without it, message by message.
//
// A script is run twice, once against PostgreSQL itself (the oracle) and once
// through the proxy, each time on a fresh database with the same setup on the
// same server. No expected output is stored: every message the oracle sent is
// demanded from the proxy, in order and in full, and afterwards both databases
// must hold the same rows and the same objects.
//
// # Life of one case
//
//  1. The schemas of both databases are emptied and the file's and the case's
//     setup SQL runs on them, directly on the server.
//  2. The steps run on the direct side; every backend message is written to a
//     transcript.
//  3. The same steps run on the proxied side.
//  4. Clients that are still open send Terminate; what arrives until the end
//     of the connection belongs to the transcript too, so a surplus message
//     cannot hide.
//  5. The server must get rid of the sessions, then the state of the database
//     (objects, rows, prepared transactions, on request sequences) is added.
//  6. The two transcripts are compared line by line.
//
// # Script format
//
// A directive starts in the first column, its body is indented. '#' in the
// first column starts a comment. Options before the first case hold for all
// cases of the file. ${db} stands for the name of the database, ${password}
// for a password that roles created by the script can use.
//
//	version >= 16             skip on other servers, with the reason printed
//	requires extension x      skip where the extension is not available
//	database                  SQL run once per database (roles, extensions)
//	setup                     SQL run before every case
//	waive W F L R             error and notice fields not compared
//	volatile REGEXP           matches are replaced by "~" before comparing
//	params k=v                startup parameters of all clients
//	expect stage|stream|pass  told to Options.AfterCase, not judged here
//	state seq|off             also compare sequences / compare no state
//	skip REASON               a known difference: not run, with the reason printed
//
//	case NAME                 starts a case; options and setup may follow
//	client NAME [k=v ...]     switch to that client, connect it if it is new
//	send                      frontend messages, one a line, in one write
//	until TYPE [TYPE ...]     read until these messages have arrived in turn
//	query SQL                 Query, until ReadyForQuery
//	copy SQL                  Query, data from the body, CopyDone, ReadyForQuery
//	copyx SQL                 the same by Parse, Bind, Execute, Sync
//	exec SQL                  run on the server behind the client's back
//	wait SQL                  repeat on the server until the answer is true
//	check SQL                 run on the server, compare the rows
//	cancel NAME               send a cancel request for that client
//	close                     cut the connection without a word
//	terminate                 Terminate, then read to the end
//	eof                       read to the end without Terminate
//
// Messages are named as in the protocol, with a JSON object for their fields
// or a shorthand:
//
//	Query SELECT 1                    Parse COPY t FROM STDIN
//	Parse {"Name": "s", "Query": "…"} Bind {"PreparedStatement": "s"}
//	Describe S s                      Close P p
//	Execute                           Sync, Flush, Terminate, CopyDone
//	CopyData "1\ta\n"                 CopyFail "why"
//	CopyHex 504743                    CopyRepeat 1000 "x"
//	CopyGenerate 20000 "{i}\tn{i%7}\n" [chunk=8192 | chunk=row]
//	CopyBinary 20000 int4,text [chunk=N] [notrailer]
//	CopyFile data.csv [chunk=N]       Raw 51ffffffff
//
// # What is not compared
//
// OIDs of 16384 and above are numbered in the order of their appearance, since
// the two databases allocate them independently; process ids become the name
// of the client they belong to; the database's name becomes ${db}. Secret keys
// and timing are not looked at. Everything else is compared, unless a script
// waives it.
//
// The package must never be imported outside tests.
package pgtest
