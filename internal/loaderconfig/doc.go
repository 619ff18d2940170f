// Package loaderconfig reads the settings of the object store from the database:
// from relyt_sys.LOADER_CONFIG(), which users of the original loader have, or
// which `pgbulkproxy install --loader-config` makes.
//
// It owns what the function's columns mean. It never keeps a connection, never
// writes, and never shows a key: errors name the column, not its value.
//
// The life of the settings: Open reads them when the proxy starts, and fails
// where they can't be read; Reload reads them again when the store has refused
// the credentials. Files that were written under older settings keep their keys.
package loaderconfig
