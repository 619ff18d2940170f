package sealed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Checks returns what engines need that read files by schema pgbulk, beside a server
// and a store.
func Checks() []check.Check {
	return append(check.Installed(),
		check.Check{Name: check.NameCurl, Needs: []string{check.NameServiceRole, check.NameFileFDW}, Run: checkCurl,
			Remedy: "See the database server's log for what curl said."},
		check.Check{Name: check.NameServerStore, Needs: []string{check.NameCurl, check.NamePresigned}, Run: checkServerReads,
			Remedy: "See the database server's log for what curl said."},
	)
}

// nowhere is a URL at which nobody listens, on the database host itself.
const nowhere = "http://127.0.0.1:9/pgbulkproxy-doctor"

// checkCurl has the server itself run curl, which finds nobody.
func checkCurl(ctx context.Context, e *check.Env) check.Result {
	_, err := readAsServer(ctx, e, nowhere)
	if err == nil {
		return check.Doubtful("curl on the database host read a file where nobody should listen (port 9)")
	}
	if check.State(err) != "38000" {
		return check.Bad("%s", engine.MaskURL(err.Error()))
	}
	switch code := check.CurlExit(check.Detail(err)); code {
	case 1, 2, 126, 127:
		return check.CurlFailed(code)
	}
	return check.Good("the database server runs curl")
}

// checkServerReads has the server itself read an object by a pre-signed URL, as a
// load does.
func checkServerReads(ctx context.Context, e *check.Env) (result check.Result) {
	drop, err := e.Put(ctx)
	if err != nil {
		return check.Bad("%v", err)
	}
	defer func() {
		if err := drop(); err != nil && result.Status == check.OK {
			result = check.Bad("%v", err)
		}
	}()
	url, err := e.Store.Presign(ctx, e.Key, e.URLTTL)
	if err != nil {
		return check.Bad("sign a URL: %v", err)
	}
	if !validURL(url) {
		return check.Bad("the pre-signed URL has characters that the installation refuses").
			With("Use a bucket and prefix of letters, digits and . _ ~ / - only.")
	}
	text, err := readAsServer(ctx, e, url)
	switch {
	case check.State(err) == "38000":
		return check.CurlFailed(check.CurlExit(check.Detail(err)))
	case err != nil:
		return check.Bad("%s", engine.MaskURL(err.Error()))
	case text+"\n" != check.Text:
		return check.Bad("the server read other bytes than were put")
	}
	return check.Good("the server reads the store by curl")
}

// readAsServer reads a file of one row by an external table, as a load does, in a
// transaction that is rolled back. The target of the load that the message speaks
// of is a catalog that every database has: nothing is written to it.
func readAsServer(ctx context.Context, e *check.Env, url string) (string, error) {
	oid, err := e.Text(ctx, "SELECT 'pg_catalog.pg_description'::pg_catalog.regclass::pg_catalog.oid")
	if err != nil {
		return "", err
	}
	t := engine.Target{Schema: "pg_catalog", Table: "pg_description", Columns: []string{"description"}}
	if _, err := fmt.Sscan(oid, &t.OID); err != nil {
		return "", err
	}
	hexKey, err := e.Text(ctx, "SELECT pg_catalog.encode(key, 'hex') FROM pgbulk.secret")
	if err != nil {
		return "", err
	}
	key, err := hex.DecodeString(hexKey)
	if err != nil {
		return "", err
	}
	f := engine.File{ProcessID: newProcessID(), Number: 1, URL: url, First: true, Records: 1}
	stmt := rewrite.CopyStatement{Format: rewrite.FormatText, Delimiter: '\t', Null: `\N`}
	s := engine.Session{Database: e.Session.Database, BackendPID: e.Session.PID, Role: e.Session.Role}
	open, err := openSQL(t, &stmt, s, f, key, e.Now().Add(e.URLTTL))
	if err != nil {
		return "", err
	}
	return e.Undone(ctx, open+"; SELECT description FROM "+pgident.Qualified("pgbulk", tableName(f)))
}

// newProcessID is the id of a load that never is.
func newProcessID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
