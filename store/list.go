package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// List yields objects in key order, a page of up to 1000 a request.
func (s *s3Store) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: s.bucket, Prefix: aws.String(prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx, within(s.cfg.RequestTimeout))
			if err != nil {
				yield(Info{}, s.failed(ctx, "list", s.URL(prefix), err))
				return
			}
			for _, o := range page.Contents {
				info := Info{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified).UTC()}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// AbortUploads removes old multipart uploads. One that ended meanwhile is no
// error and is not counted.
func (s *s3Store) AbortUploads(ctx context.Context, prefix string, before time.Time) (int, error) {
	count := 0
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: s.bucket, Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, within(s.cfg.RequestTimeout))
		if err != nil {
			return count, s.failed(ctx, "list uploads", s.URL(prefix), err)
		}
		for _, u := range page.Uploads {
			if !aws.ToTime(u.Initiated).Before(before) {
				continue
			}
			_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
				Bucket: s.bucket, Key: u.Key, UploadId: u.UploadId,
			}, within(s.cfg.RequestTimeout))
			switch {
			case err == nil:
				count++
			case code(err) != "NoSuchUpload":
				return count, s.failed(ctx, "abort upload", s.URL(aws.ToString(u.Key)), err)
			}
		}
	}
	return count, nil
}

// deleteBatch is S3's limit of keys in one request.
const deleteBatch = 1000

// Delete removes objects, many in one request where the server can do that. It
// tries all before it returns the first errors.
func (s *s3Store) Delete(ctx context.Context, keys ...string) error {
	var errs []error
	for batch := range slices.Chunk(keys, deleteBatch) {
		if len(batch) > 1 {
			done, err := s.deleteMany(ctx, batch)
			if done {
				errs = append(errs, err)
				continue
			}
		}
		for _, key := range batch {
			err := s.deleteOne(ctx, key)
			if err != nil && (ctx.Err() != nil || status(err) == 0) {
				return err // cancelled or out of reach: the others would fail like it
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *s3Store) deleteOne(ctx context.Context, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: s.bucket, Key: aws.String(key)},
		within(s.cfg.RequestTimeout))
	if err == nil || isNotFound(err) {
		return nil
	}
	return s.failed(ctx, "delete", s.URL(key), err)
}

// deleteMany returns false if the server refused the request as a whole: not
// every server knows it, or the checksum that it needs.
func (s *s3Store) deleteMany(ctx context.Context, keys []string) (bool, error) {
	objects := make([]types.ObjectIdentifier, len(keys))
	for i, key := range keys {
		objects[i].Key = aws.String(key)
	}
	out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: s.bucket, Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)},
	}, within(s.cfg.RequestTimeout))
	if err != nil {
		if status(err) != 0 && ctx.Err() == nil {
			return false, nil
		}
		return true, s.failed(ctx, "delete", fmt.Sprintf("%d objects, the first %s", len(keys), s.URL(keys[0])), err)
	}
	var errs []error
	for _, e := range out.Errors {
		if c := aws.ToString(e.Code); c != "NoSuchKey" && c != "NotFound" {
			errs = append(errs, s.failed(ctx, "delete", s.URL(aws.ToString(e.Key)),
				fmt.Errorf("%s: %s", c, aws.ToString(e.Message))))
		}
	}
	return true, errors.Join(errs...)
}

// maxPresign is what signature version 4 allows.
const maxPresign = 7 * 24 * time.Hour

// PresignGet signs a URL without asking the store.
func (s *s3Store) PresignGet(ctx context.Context, key string, ttl time.Duration) (string, error) {
	if ttl < time.Second || ttl > maxPresign {
		return "", fmt.Errorf("sign %s: %s is not between 1s and %s", s.URL(key), ttl, maxPresign)
	}
	signed, err := s.presigner.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: s.bucket, Key: aws.String(key)},
		s3.WithPresignExpires(ttl))
	if err != nil {
		return "", s.failed(ctx, "sign", s.URL(key), err)
	}
	return signed.URL, nil
}
