// Package registry lists the engines that there are, one row an engine.
//
// It owns the list, and never what an engine does. It is the only package that
// imports engines; everybody else is handed an engine.Engine.
//
// The life of an engine's name: a setting or a flag is looked up by ByName once,
// when the process starts.
package registry
