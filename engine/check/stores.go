package check

import (
	"context"
	"errors"
	"time"
)

// Text is what the object of the checks holds: one row of text.
const Text = "pgbulkproxy doctor\n"

// Stores returns the checks of the object store, the same for every engine.
func Stores() []Check {
	return []Check{
		{Name: NameStore, Run: useStore, Remedy: "Check the setting store: bucket, endpoint, region, path_style; and the credentials in the AWS chain or LOADER_CONFIG()."},
		{Name: NameStoreList, Needs: []string{NameStore}, Run: storeList,
			Remedy: "Allow s3:ListBucket and s3:ListBucketMultipartUploads on the bucket: without them files of a proxy that was lost stay for ever."},
		{Name: NamePresigned, Needs: []string{NameStore}, Run: presigned,
			Remedy: "Allow s3:GetObject under the prefix for the proxy's credentials, and no bucket policy that refuses pre-signed URLs."},
		{Name: NameStoreClock, Needs: []string{NameStore}, Run: storeClock,
			Remedy: "Have NTP set the proxy's clock: S3 refuses signatures that are older or newer than 15 minutes."},
	}
}

// ErrServed says that the store lives in the process of a running proxy.
var ErrServed = errors.New("a running proxy serves this store")

// Put makes the object of the checks; drop deletes it, whatever has become of ctx.
func (e *Env) Put(ctx context.Context) (drop func() error, err error) {
	if err := e.Store.PutText(ctx, e.Key, Text); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return e.Store.Delete(ctx, e.Key)
	}, nil
}

func useStore(ctx context.Context, e *Env) Result {
	if e.OpenStore == nil {
		return Skipped("relay_only: nothing is staged")
	}
	var err error
	if e.Store, err = e.OpenStore(ctx); errors.Is(err, ErrServed) {
		return Skipped("a running proxy serves this store from its own folder: stop it to have the store tried")
	} else if err != nil {
		return Bad("%v", err)
	}
	drop, err := e.Put(ctx)
	if err != nil {
		return storeFailed(e, err)
	}
	text, err := e.Store.GetText(ctx, e.Key)
	if dropErr := drop(); err == nil && dropErr != nil {
		return storeFailed(e, dropErr).With("Allow s3:DeleteObject under the prefix: the sweeper deletes files that are loaded. The object %s stayed there.", e.Key)
	}
	switch {
	case err != nil:
		return storeFailed(e, err)
	case text != Text:
		return Bad("the store returned other bytes than it was given")
	}
	return Good("%s: put, read and deleted an object", e.StoreURL)
}

// storeFailed knows what to do about what stores say most.
func storeFailed(e *Env, err error) Result {
	code := e.Store.Code(err)
	r := Bad("%v", err)
	switch code {
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		return r.With("The store does not know the access key: check the AWS chain (AWS_ACCESS_KEY_ID, profile, instance role) or LOADER_CONFIG().")
	case "SignatureDoesNotMatch":
		return r.With("The secret key does not belong to the access key; or a proxy in between changes requests; or the region is wrong.")
	case "AccessDenied", "Forbidden":
		return r.With("Allow s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload under the prefix for these credentials.")
	case "NoSuchBucket":
		return r.With("Make the bucket, or correct its name in the setting store.")
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently":
		return r.With("The bucket is in another region: set region= in the setting store.")
	case "RequestTimeTooSkewed":
		return r.With("Have NTP set the proxy's clock: S3 refuses signatures that are older or newer than 15 minutes.")
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return r.With("The session token has expired: renew the credentials.")
	case "":
		return r.With("The store gave no answer: check host and port of endpoint= in the setting store, DNS, firewalls and certificates from the proxy's host.")
	}
	return r
}

func storeList(ctx context.Context, e *Env) Result {
	if _, err := e.Store.List(ctx, e.Key); err != nil {
		return Bad("%v", err)
	}
	return Good("objects and unfinished uploads can be listed")
}

// presigned reads an object as the server does, from the proxy's host.
func presigned(ctx context.Context, e *Env) (result Result) {
	drop, err := e.Put(ctx)
	if err != nil {
		return storeFailed(e, err)
	}
	defer func() {
		if err := drop(); err != nil && result.Status == OK {
			result = storeFailed(e, err)
		}
	}()
	url, err := e.Store.Presign(ctx, e.Key, e.URLTTL)
	if err != nil {
		return Bad("sign a URL: %v", err)
	}
	status, body, _, err := e.Fetch(ctx, url)
	switch {
	case err != nil:
		return Bad("read by a pre-signed URL: %v", err)
	case status != 200:
		return Bad("the store answers HTTP %d to a pre-signed URL", status)
	case body != Text:
		return Bad("a pre-signed URL returned other bytes than were put")
	}
	return Good("a pre-signed URL reads an object, from the proxy's host")
}

// storeClock takes the clock from an answer, whatever else it says.
func storeClock(ctx context.Context, e *Env) Result {
	url, err := e.Store.Presign(ctx, e.Key, time.Minute)
	if err != nil {
		return Bad("sign a URL: %v", err)
	}
	before := e.Now()
	_, _, clock, err := e.Fetch(ctx, url)
	switch {
	case err != nil:
		return Bad("%v", err)
	case clock.IsZero():
		return Skipped("the store does not tell its time")
	}
	after := e.Now()
	return skew("the store's", clock.Sub(before.Add(after.Sub(before)/2)), e.URLTTL, "it refuses what the proxy signs")
}
