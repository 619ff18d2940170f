// Package clienttest compares what real client libraries and psql see through the proxy
// with what they see of the server itself, and what becomes of every literal in every
// type. Package difftest says why its tests do not stand in internal/proxy.
package clienttest
