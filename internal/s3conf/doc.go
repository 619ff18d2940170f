// Package s3conf serves the segments of Greenplum what they need to read a load's
// files from S3: the credentials, as the protocol s3's configuration, which so
// stand neither in SQL text nor in a file on the segments' hosts.
//
// It owns the listener, the URLs and how long each is served. It never logs a URL
// and never keeps a credential: it asks for them when a segment does.
//
// The life of one URL:
//
//  1. Open makes it, with 128 random bits, right before the statement that names it.
//  2. Each segment fetches it once. A fetch more than were allowed, from elsewhere
//     than Config.From, or of any other path is a 404 with an empty body: the
//     protocol would take whatever text comes for a configuration.
//  3. The function that Open returned ends it when the statement has ended.
//
// What to know: the text goes over plain HTTP, since the protocol's HTTPS wants
// client certificates on every segment. Whoever sees the statement while it runs
// (superusers, and the sender's own role) can fetch the URL, too, from where
// Config.From allows it. So give From, and credentials that are short-lived and
// may read the bucket and nothing else.
//
// To debug it: a segment that can't fetch fails the statement with XX000, and the
// load goes natively.
package s3conf
