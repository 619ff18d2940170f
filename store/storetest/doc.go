// Package storetest holds what every implementation of a store is tested with
// (Run), and stores to test others with: one in memory (NewMemory), one that
// fails on demand (Faults), and an HTTP proxy that misbehaves (Interpose).
package storetest
