package embedded

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"
)

// The operations on objects, each on a copy of its input whose bucket is a path,
// and with the bucket's name in answers that repeat it.

func (f *files) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.Bucket = f.absPtr(in.Bucket)
	body := newWholeBody(in.Body, in.ContentLength)
	if body != nil {
		in.Body = body
	}
	out, err := f.posix.PutObject(ctx, in)
	return out, body.outcome(err)
}

func (f *files) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	return f.posix.HeadObject(ctx, &c)
}

func (f *files) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	return f.posix.GetObject(ctx, &c)
}

func (f *files) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	return f.posix.DeleteObject(ctx, &c)
}

func (f *files) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	return f.posix.DeleteObjects(ctx, &c)
}

func (f *files) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	out, err := f.posix.ListObjects(ctx, &c)
	out.Name = in.Bucket
	return out, err
}

func (f *files) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	out, err := f.posix.ListObjectsV2(ctx, &c)
	out.Name = in.Bucket
	return out, err
}

func (f *files) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	bucket := aws.ToString(in.Bucket)
	in.Bucket = f.absPtr(in.Bucket)
	out, err := f.posix.CreateMultipartUpload(ctx, in)
	out.Bucket = bucket
	return out, err
}

func (f *files) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	body := newWholeBody(in.Body, in.ContentLength)
	if body != nil {
		c.Body = body
	}
	id := aws.ToString(in.UploadId)
	f.parts.begin(id, false)
	defer f.parts.end(id)
	out, err := f.posix.UploadPart(ctx, &c)
	if f.parts.aborted(id) {
		// Its client may be gone, and nobody else removes what it has left.
		_ = f.abort(context.WithoutCancel(ctx), &s3.AbortMultipartUploadInput{Bucket: c.Bucket, Key: in.Key, UploadId: in.UploadId})
		return nil, s3err.GetNoSuchUploadErr(id)
	}
	return out, body.outcome(err)
}

func (f *files) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	out, version, err := f.posix.CompleteMultipartUpload(ctx, &c)
	out.Bucket = in.Bucket
	return out, version, err
}

func (f *files) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	id := aws.ToString(in.UploadId)
	f.parts.begin(id, true)
	defer f.parts.end(id)
	return f.abort(ctx, &c)
}

// abort aborts an upload, again where a part has come into its directory while
// that was being removed.
func (f *files) abort(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	for {
		err := f.posix.AbortMultipartUpload(ctx, in)
		if !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
}

func (f *files) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	out, err := f.posix.ListMultipartUploads(ctx, &c)
	for errors.Is(err, fs.ErrNotExist) { // one was aborted meanwhile
		out, err = f.posix.ListMultipartUploads(ctx, &c)
	}
	out.Bucket = aws.ToString(in.Bucket)
	out.Uploads = slices.DeleteFunc(out.Uploads, func(u s3response.Upload) bool { return f.parts.aborted(u.UploadID) })
	return out, err
}

func (f *files) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	out, err := f.posix.ListParts(ctx, &c)
	out.Bucket = aws.ToString(in.Bucket)
	return out, err
}
