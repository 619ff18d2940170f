// Package difftest compares what clients see through the proxy with what they see of the
// server itself: its tests run the scripts of testdata/wire by each way that loads go.
//
// They and those of clienttest could stand in internal/proxy. They are packages of
// their own since each takes minutes, and Go gives the tests of one package ten.
//
// The package must never be imported outside tests.
package difftest
