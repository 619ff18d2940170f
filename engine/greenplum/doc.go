// Package greenplum is the engine of Greenplum 6 and 7, Apache Cloudberry and
// their kin, whose segments read the files from S3 side by side: by an external
// table of the protocol s3, made for one group of files and dropped with it, in
// the client's transaction. Nothing has to be installed but that protocol.
//
// It owns the three statements of a group, and the question to the catalogs that
// they need. It never sees rows, and its SQL text never holds a credential: the
// segments fetch those from Group.Config, a URL that is served only while the
// statement runs.
//
// The life of one group:
//
//  1. PrepareSQL asks, once a load, for the columns' types, the number of segments
//     and whether the role may use the protocol.
//  2. The Plan's Open makes a temporary external table whose one LOCATION is the
//     group's prefix; each segment lists it and takes every Nth file.
//  3. Insert reads it. Its tag has to be the number of rows staged: the reader
//     loses rows in silence (docs/engines.md has the ways).
//  4. Close drops it.
//
// To debug it: the server's error names the segment and the line of its stream.
package greenplum
