// Package external has what external tables of Greenplum and its kin have in
// common: columns, FORMAT, where the files are, and the questions to the catalogs
// that tell whether such a table gives what COPY does. The engines that have
// such tables differ in how the table is made, and in what tells its readers the
// store's credentials.
//
// It owns pieces of SQL text, and what is refused. It never sees a credential, and
// it is no engine.
//
// The life of one plan is told by package engine. To debug it: what is refused has
// a word that says why, which the engine puts into its error.
package external
