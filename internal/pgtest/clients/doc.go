// Package clients runs real client libraries against a server and writes down
// what they saw, so that two ways to the same server can be compared.
//
// A client is a small program that gets a connection string and an empty
// database, always does the same work, and returns a transcript: counts, rows
// and errors in the library's own words. Programs in other languages lie in
// the folder programs; they are left out, with the reason, where their
// interpreter or library is missing.
package clients
