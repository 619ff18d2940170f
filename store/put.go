package store

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// S3's limits: parts in one upload, bytes in one request.
const (
	maxParts   = 10000
	maxRequest = 5 << 30
)

// Put uploads content in one request, or in parts if it is larger than one.
func (s *s3Store) Put(ctx context.Context, key string, c Content) error {
	size := c.Size()
	if key == "" || size < 0 {
		return fmt.Errorf("put %s: an object needs a key and a size", s.URL(key))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := &guard{content: c, fail: cancel}
	defer body.revoke()
	var err error
	if size <= s.cfg.OneRequest {
		err = s.putOne(ctx, key, body, size)
	} else {
		err = s.putParts(ctx, key, body, size)
	}
	return s.failed(ctx, "put", s.URL(key), err)
}

// putOne uploads in one request. When ctx ends before all was sent, the request
// ends too and cannot take effect; after that its answer is awaited, because
// only the answer tells. If it stays unknown whether it took effect, the object
// is removed.
func (s *s3Store) putOne(ctx context.Context, key string, body *guard, size int64) error {
	request, cancel := s.grace(ctx, body.stop)
	defer cancel()
	input := &s3.PutObjectInput{
		Bucket: s.bucket, Key: aws.String(key), Body: body.section(0, size), ContentLength: aws.Int64(size),
	}
	if !s.noChecksums.Load() {
		input.ChecksumCRC32C = checksum(body.content)
	}
	timeout := within(s.cfg.PartTimeout * time.Duration(1+size/s.cfg.PartSize))
	_, err := s.client.PutObject(request, input, s.unsigned, timeout)
	if input.ChecksumCRC32C != nil && isUnknownHeader(err) {
		input.ChecksumCRC32C, input.Body = nil, body.section(0, size)
		_, err = s.client.PutObject(request, input, s.unsigned, timeout)
		s.noChecksums.Store(err == nil)
	}
	if err != nil && status(err)/100 != 4 {
		s.remove(ctx, key)
	}
	return err
}

// putParts uploads parts and then makes the object of them. It starts at most
// Config.PartsInFlight goroutines and waits for them.
func (s *s3Store) putParts(ctx context.Context, key string, body *guard, size int64) error {
	created, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: s.bucket, Key: aws.String(key),
	}, within(s.cfg.RequestTimeout))
	if err != nil {
		return err
	}
	id := aws.ToString(created.UploadId)
	partSize := max(s.cfg.PartSize, (size+maxParts-1)/maxParts)
	parts := make([]types.CompletedPart, (size+partSize-1)/partSize)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.PartsInFlight)
	for i := range parts {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() (err error) {
			off := int64(i) * partSize
			parts[i], err = s.putPart(groupCtx, key, id, i+1, body, off, min(partSize, size-off))
			return err
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		_ = s.abort(ctx, key, id) // AbortUploads finds what is left
		return err
	}
	request, cancel := s.grace(ctx, func() bool { return false })
	defer cancel()
	_, err = s.client.CompleteMultipartUpload(request, &s3.CompleteMultipartUploadInput{
		Bucket: s.bucket, Key: aws.String(key), UploadId: aws.String(id),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}, within(s.cfg.PartTimeout))
	if err != nil && s.settle(ctx, key, id, parts, size) {
		return nil
	}
	return err
}

func (s *s3Store) putPart(ctx context.Context, key, id string, number int, body *guard, off, size int64) (types.CompletedPart, error) {
	n := aws.Int32(int32(number))
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: s.bucket, Key: aws.String(key), UploadId: aws.String(id), PartNumber: n,
		Body: body.section(off, size), ContentLength: aws.Int64(size),
	}, s.unsigned, within(s.cfg.PartTimeout))
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{ETag: out.ETag, PartNumber: n}, nil
}

// settle finds out what became of an upload whose completion was answered with
// an error, perhaps because the first answer was lost. It returns true if the
// object is there; otherwise it has done its best that nothing is.
func (s *s3Store) settle(ctx context.Context, key, id string, parts []types.CompletedPart, size int64) bool {
	if err := s.abort(ctx, key, id); code(err) != "NoSuchUpload" {
		return false
	}
	// There is no such upload any more: it became an object.
	if s.isThere(ctx, key, wholeETag(parts), size) {
		return true
	}
	s.remove(ctx, key)
	return false
}

// isThere looks for the object for a while: an answer that there is no such
// upload may come while the completion is still being carried out.
func (s *s3Store) isThere(ctx context.Context, key, etag string, size int64) bool {
	ctx, cancel := s.cleanup(ctx)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: s.bucket, Key: aws.String(key)})
		if err == nil && aws.ToInt64(head.ContentLength) == size && strings.Trim(aws.ToString(head.ETag), `"`) == etag {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// wholeETag is the ETag that S3 gives to an object made of parts: the MD5 of
// their MD5s, and their number. Servers with other ETags make settle remove the
// object, which is safe.
func wholeETag(parts []types.CompletedPart) string {
	sum := md5.New()
	for _, p := range parts {
		b, err := hex.DecodeString(strings.Trim(aws.ToString(p.ETag), `"`))
		if err != nil {
			return ""
		}
		sum.Write(b)
	}
	return fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
}

// cleanup is the time for leaving nothing behind, also after a cancel.
func (s *s3Store) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CleanupTimeout)
}

// grace is the context of a request whose outcome counts. When ctx ends it ends
// as well if stop says that the request has no effect then; otherwise the answer
// is waited for a little longer.
func (s *s3Store) grace(ctx context.Context, stop func() bool) (context.Context, context.CancelFunc) {
	request, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		if stop() {
			cancel()
			return
		}
		time.AfterFunc(s.cfg.CleanupTimeout, cancel)
	})
	return request, func() { forget(); cancel() }
}

func (s *s3Store) abort(ctx context.Context, key, id string) error {
	ctx, cancel := s.cleanup(ctx)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: s.bucket, Key: aws.String(key), UploadId: aws.String(id),
	})
	return err
}

// remove does its best: the error that counts is the Put's, and whoever sweeps
// the prefix finds what is left.
func (s *s3Store) remove(ctx context.Context, key string) {
	ctx, cancel := s.cleanup(ctx)
	defer cancel()
	_, _ = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: s.bucket, Key: aws.String(key)})
}
