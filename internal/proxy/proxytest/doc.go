// Package proxytest runs proxies in a test's process, in front of the servers of
// internal/testenv: for the tests of internal/proxy and of the packages below it.
//
// It knows a proxy by what it does (Server) and not by its package, whose own tests
// use this one.
//
// The package must never be imported outside tests.
package proxytest
