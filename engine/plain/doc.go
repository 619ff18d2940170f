// Package plain is the engine of any PostgreSQL, managed ones among them: the
// server reads nothing itself, the proxy sends the rows by COPY on the session.
//
// It owns nothing but its flags, and never makes a plan.
//
// The life of one file: it is staged in the store, and bulk sends the same bytes
// on the client's session.
package plain
