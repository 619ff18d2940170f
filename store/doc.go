// Package store keeps staged files in an object store.
//
// It owns: the connection to S3, its credentials, retries, limits and request
// signing. It never decides what a key is called or when an object may be
// deleted; bulk and the ledger do.
//
// The life of one object:
//
//  1. Put uploads it from an io.ReaderAt: one PutObject up to the part size, a
//     multipart upload beyond it. Before Put returned nil, nothing can be read
//     under the key; after it, the whole object can, and it is durable.
//  2. PresignGet makes a short-lived URL with which an engine reads it without
//     credentials. The URL is a secret: it must not stand in logs or errors.
//  3. Open reads it back.
//  4. Delete removes it. Abandoned multipart uploads are removed by AbortUploads.
//
// Wrappers of the same interface add retry metrics, faults (tests) and limits;
// New stacks them in one place.
package store
