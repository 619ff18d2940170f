package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"
)

// files is the posix backend with absolute paths. That backend opens
// bucket/key relative to the working directory, which belongs to the whole
// process and may be changed by it; handed the bucket's absolute path in place
// of its name it works from anywhere. What is not listed here is answered with
// NotImplemented.
type files struct {
	backend.BackendUnsupported
	posix *posix.Posix
	root  string
	parts parts
}

// newBackend makes the posix backend over dir/objects and sets the working
// directory back, which posix.New changes.
func newBackend(dir string) (*files, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find directory: %w", err)
	}
	root := filepath.Join(dir, "objects")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	storer, err := metadata(dir, root)
	if err != nil {
		return nil, err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working directory: %w", err)
	}
	// An ETag made of the checksum spares the MD5, which would take more CPU than
	// all else.
	p, err := posix.New(root, storer, posix.PosixOpts{DataIntegrityEtag: true})
	if err := errors.Join(err, os.Chdir(cwd)); err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &files{posix: p, root: root}, nil
}

// metadata stores what S3 knows of an object beside its bytes: in extended
// attributes, or in files of their own where there are none. Some file systems
// answer a read of attributes but refuse to write them, so a write is tried.
func metadata(dir, root string) (meta.MetadataStorer, error) {
	sidecar := filepath.Join(dir, "meta")
	_, err := os.Stat(sidecar)
	if errors.Is(err, os.ErrNotExist) && hasAttributes(root) {
		return meta.XattrMeta{}, nil
	}
	// Once there is such a directory it stays in use: the objects' metadata
	// cannot be in two places.
	if err := os.MkdirAll(sidecar, 0o700); err != nil {
		return nil, fmt.Errorf("make metadata directory: %w", err)
	}
	return meta.NewSideCar(sidecar)
}

func hasAttributes(dir string) bool {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return unix.Fsetxattr(int(f.Fd()), "user.pgbulkproxy", []byte("1"), 0) == nil
}

// plainName is whether a bucket's name is safe as a file name.
func plainName(bucket string) bool {
	return bucket != "" && bucket[0] != '.' && !strings.ContainsAny(bucket, "/\\\x00")
}

// abs turns a bucket's name into its path. The front end has refused other
// names already; one that gets through leads to a bucket that does not exist.
func (f *files) abs(bucket string) string {
	if !plainName(bucket) {
		return filepath.Join(f.root, ".none")
	}
	return filepath.Join(f.root, bucket)
}

func (f *files) absPtr(bucket *string) *string { return aws.String(f.abs(aws.ToString(bucket))) }

func (f *files) ensureBucket(ctx context.Context, bucket, owner string) error {
	acl, err := json.Marshal(auth.ACL{Owner: owner})
	if err != nil {
		return err
	}
	if _, err := os.Stat(f.abs(bucket)); err == nil {
		return nil
	}
	return f.posix.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    f.absPtr(&bucket),
		ObjectOwnership:           types.ObjectOwnershipBucketOwnerEnforced,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{},
	}, acl)
}

func (f *files) Shutdown()      { f.posix.Shutdown() }
func (f *files) String() string { return "embedded" }

func (f *files) NormalizeObjectKey(bucket, object string) string {
	return f.posix.NormalizeObjectKey(bucket, object)
}

// The gateway asks these of every request; the answers are those of a bucket
// without policy, versions and locks.

func (f *files) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	return f.posix.HeadBucket(ctx, &c)
}

func (f *files) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	c := *in
	c.Bucket = f.absPtr(in.Bucket)
	return f.posix.GetBucketAcl(ctx, &c)
}

func (f *files) GetBucketPolicy(_ context.Context, bucket string) ([]byte, error) {
	return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucketPolicy, bucket)
}

func (f *files) GetBucketCors(ctx context.Context, bucket string) ([]byte, error) {
	return f.posix.GetBucketCors(ctx, f.abs(bucket))
}

func (f *files) GetBucketVersioning(ctx context.Context, bucket string) (s3response.GetBucketVersioningOutput, error) {
	return f.posix.GetBucketVersioning(ctx, f.abs(bucket))
}

func (f *files) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	return f.posix.GetObjectLockConfiguration(ctx, f.abs(bucket))
}

func (f *files) GetObjectRetention(ctx context.Context, bucket, object, version string) ([]byte, error) {
	return f.posix.GetObjectRetention(ctx, f.abs(bucket), object, version)
}

func (f *files) GetObjectLegalHold(ctx context.Context, bucket, object, version string) (*bool, error) {
	return f.posix.GetObjectLegalHold(ctx, f.abs(bucket), object, version)
}
