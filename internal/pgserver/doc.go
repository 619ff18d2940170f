// Package pgserver runs a private PostgreSQL server as a child process, for the
// demo command and for tests.
//
// It owns: finding the binaries, the data directory's first initialisation, the
// child process and the socket directory it made itself. It never touches a
// server that it did not start, and never changes an existing data directory's
// own configuration files: everything is passed on the command line.
//
// The life of one server:
//
//  1. Find looks for the binaries; where there are none and Config.Download is
//     set, they are downloaded once into a cache directory.
//  2. initdb fills Config.DataDir if it is empty, beside it and then by rename,
//     so that a killed initdb leaves no half-made cluster under that name.
//  3. postgres starts in its own process group. Root cannot run it, so as root
//     the children run as an unprivileged user that owns their directories.
//  4. Start returns when a connection was accepted.
//  5. Stop asks for a fast shutdown and kills what does not obey. On Linux the
//     kernel stops the server if the parent dies without calling Stop.
//
// To debug a server that does not start, read DataDir/server.log; the error of
// Start ends with its last lines.
package pgserver
