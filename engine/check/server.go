package check

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// The names of the checks that others need.
const (
	NameUpstream     = "upstream"
	NameService      = "service_connection"
	NameEngine       = "engine"
	NameWritable     = "server_writable"
	NameServerClock  = "clock_server"
	NameInstallation = "installation"
	NameServiceRole  = "service_role"
	NameLedger       = "ledger"
	NameRejects      = "rejected_rows"
	NameFileFDW      = "file_fdw"
	NameClientRole   = "client_role"
	NameStore        = "store"
	NameStoreList    = "store_list"
	NamePresigned    = "store_presigned"
	NameStoreClock   = "clock_store"
	NameCurl         = "curl"
	NameServerStore  = "server_reads_store"
	NameMemory       = "memory"
	NameSpool        = "spool"
	NameFiles        = "open_files"
	NameConnections  = "connections"
)

// Server returns the checks of the server itself, the same for every engine.
func Server() []Check {
	return []Check{
		{Name: NameUpstream, Run: upstream,
			Remedy: "Check the setting upstream, that the server runs and listens there (listen_addresses), and the firewalls in between."},
		{Name: NameService, Run: service,
			Remedy: "Check service_dsn: host, port, user, password, sslmode; and pg_hba.conf of the server for that role."},
		{Name: NameEngine, Needs: []string{NameService}, Run: engineInEffect,
			Remedy: "Leave engine at auto, or name the engine that the server is."},
		{Name: NameWritable, Needs: []string{NameService}, Run: writable,
			Remedy: "Point upstream and service_dsn to the primary, and see ALTER DATABASE or ALTER ROLE … SET default_transaction_read_only."},
		{Name: NameServerClock, Needs: []string{NameService}, Run: serverClock,
			Remedy: "Have NTP set the clocks of the proxy and of the database host."},
	}
}

func upstream(ctx context.Context, e *Env) Result {
	if err := e.Dial(ctx); err != nil {
		return Bad("%s: %v", e.Upstream, err)
	}
	return Good("%s accepts connections", e.Upstream)
}

func service(ctx context.Context, e *Env) Result {
	if e.Open == nil {
		return Skipped("service_dsn is not set: rows go by COPY on the session, without a ledger (engine plain)")
	}
	var err error
	if e.DB, e.Session, err = e.Open(ctx); err != nil {
		return serviceFailed(err)
	}
	if e.Facts, err = ReadFacts(ctx, e.DB); err != nil {
		return Bad("ask the server what it is: %v", err)
	}
	e.Choose(e.Facts)
	product := "PostgreSQL " + e.Facts.Postgres()
	if name, version := e.Facts.Product(); name != "" {
		product = fmt.Sprintf("%s %s (PostgreSQL %s)", name, version, e.Facts.Postgres())
	}
	return Good("role %s in database %s of %s", e.Session.Role, e.Session.Database, product)
}

// serviceFailed knows what to do about what servers say most.
func serviceFailed(err error) Result {
	r := Bad("%v", err)
	switch State(err) {
	case "28P01":
		return r.With("The password in service_dsn is wrong: correct it there, or ALTER ROLE … PASSWORD on the server.")
	case "28000":
		return r.With("The server does not let this role in: make it with CREATE ROLE … LOGIN, and add a line to pg_hba.conf for it and the proxy's address.")
	case "3D000":
		return r.With("Name a database that exists in service_dsn, or with --database.")
	case "53300":
		return r.With("Raise max_connections, or the role's CONNECTION LIMIT; the proxy needs up to 4 connections to each database beside its sessions.")
	case "42501":
		return r.With("GRANT CONNECT ON DATABASE … TO the role of service_dsn.")
	}
	return r
}

func engineInEffect(_ context.Context, e *Env) Result {
	switch {
	case e.Configured != "auto" && e.Detected != e.Engine && e.Engine != "plain":
		return Doubtful("engine %s is configured, and the server looks like %s: %s", e.Engine, e.Detected, e.Why)
	case e.Untested:
		return Doubtful("engine %s: %s. It is untested: it was never run on a real server", e.Engine, e.Why).
			With("Try your loads on data that you can lose, compare the tables afterwards, and report what you find; engine plain is the safe choice.")
	}
	return Good("%s: %s", e.Engine, e.Why)
}

func writable(ctx context.Context, e *Env) Result {
	standby, err := e.True(ctx, "SELECT pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return Bad("%v", err)
	}
	if standby {
		return Bad("the server is a standby")
	}
	readOnly, err := e.Text(ctx, "SELECT pg_catalog.current_setting('default_transaction_read_only')")
	switch {
	case err != nil:
		return Bad("%v", err)
	case readOnly == "on":
		return Bad("default_transaction_read_only is on for role %s", e.Session.Role)
	}
	return Good("the server takes writes")
}

// maxSkew is what S3 tolerates; noticeable is what NTP never leaves.
const (
	maxSkew    = 15 * time.Minute
	noticeable = time.Minute
)

// skew judges how far a clock is ahead of the proxy's.
func skew(whose string, ahead, ttl time.Duration, consequence string) Result {
	text := fmt.Sprintf("%s clock is %v ahead of the proxy's", whose, ahead.Round(time.Second))
	if ahead < 0 {
		text = fmt.Sprintf("%s clock is %v behind the proxy's", whose, (-ahead).Round(time.Second))
	}
	bound := maxSkew
	if ttl > 0 {
		bound = min(bound, ttl)
	}
	switch abs := ahead.Abs(); {
	case abs >= bound:
		return Bad("%s: %s", text, consequence)
	case abs >= noticeable:
		return Doubtful("%s", text)
	}
	return Good("%s clock agrees with the proxy's", whose)
}

func serverClock(ctx context.Context, e *Env) Result {
	before := e.Now()
	text, err := e.Text(ctx, "SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())")
	if err != nil {
		return Bad("%v", err)
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Bad("the server's clock: %v", err)
	}
	after := e.Now()
	middle := before.Add(after.Sub(before) / 2)
	server := time.UnixMicro(int64(seconds * 1e6))
	return skew("the server's", server.Sub(middle), e.URLTTL, "messages to schema pgbulk are refused as expired")
}
