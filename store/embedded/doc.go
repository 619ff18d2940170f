// Package embedded serves a directory as an S3 bucket from within the process,
// for the demo, for development and for tests.
//
// It owns: the directory, the credentials that it makes for it, and the port on
// 127.0.0.1. It never serves another machine. What it stores survives the death
// of the process but not a power failure, because the server below does not
// sync files: it is no substitute for a real object store.
//
// The life of one server:
//
//  1. Start makes and locks the directory, reads or makes the credentials in it
//     and creates the bucket.
//  2. The server listens when Start returns. Only one can run in a process: the
//     library below keeps global state. A second Start is an error.
//  3. Close ends the open requests and the server. Then Start can be called
//     again, for the same directory or another one.
//
// The directory holds objects/<bucket>/<key>, meta/ where the file system has no
// extended attributes, and credentials.json.
//
// It is a package of its own so that whatever needs no more than the interface
// of an object store is not linked with a whole server.
package embedded
