// Package doctor tries everything that a load needs and says what to do about each
// failure. The checks themselves are values of engine/check and of the engines; this
// package gives them a session, a store and what it knows of the machine.
//
// It owns: which checks an engine has, in which order. It never changes anything
// that stays: no object, no row, no table.
//
// The life of one examination:
//
//  1. Run makes the Env of a configuration: nothing is connected yet.
//  2. The checks of the server connect, and find out what the server is.
//  3. So the engine in effect is known, and its own checks follow; then those of
//     the store and of the machine's limits.
//  4. Run closes what was opened and returns the report.
package doctor
