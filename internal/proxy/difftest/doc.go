// Package difftest compares what clients see through the proxy with what they see of the
// server itself: the scripts of testdata/wire by each way that loads go, real client
// libraries, psql, and every literal in every type.
//
// Its tests could stand in internal/proxy. They are a package of their own since
// the tests of both take minutes, and Go gives those of one package ten.
package difftest
