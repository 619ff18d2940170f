package testenv

// S3 is a running S3 server with a bucket.
type S3 struct{}
