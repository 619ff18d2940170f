package config

import (
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
)

// Config is the whole configuration of one proxy process. The table in keys.go
// says for every field under which key it is set, its default and its bounds.
type Config struct {
	// Listen is where clients connect: HOST:PORT, or an absolute directory for
	// a unix socket, with :PORT behind it if that isn't 6432. Default
	// 127.0.0.1:6432.
	Listen string
	// Upstream is the server: HOST:PORT, or an absolute socket directory, with
	// :PORT behind it if that isn't 5432. Required.
	Upstream string
	// ServiceDSN is the proxy's own connection for the ledger; its database is
	// replaced by the client's. Empty: no ledger, and engine plain. Secret.
	ServiceDSN string
	// Store is s3://bucket/prefix?endpoint=…&region=…&path_style=true,
	// embedded:DIR or StoreLoaderConfig. Required unless RelayOnly.
	Store string
	// RelayOnly relays everything and stages nothing. Default false.
	RelayOnly bool
	// Engine says how the server reads staged files: the name of an engine, or auto.
	// Default auto.
	Engine string
	// Metrics is the HOST:PORT of /metrics, /healthz and /readyz. Empty: off.
	Metrics string
	// AutoInstall installs what the engine needs with the service role at the
	// first load of each database. Default false; needs ServiceDSN.
	AutoInstall bool
	// DrainTimeout is how long running sessions may go on after SIGTERM; 0 ends
	// them at once. Default 30s, at most 1d.
	DrainTimeout time.Duration
	// StartupTimeout bounds the time from a client's connect to the end of its
	// authentication. Default 1m, 1s to 1h.
	StartupTimeout time.Duration
	// DialTimeout bounds one connect to the server. Default 10s, 100ms to 10m.
	DialTimeout time.Duration
	// MaxSessions is the largest number of sessions; a further client is refused
	// with 53300. 0: no limit. Default 0.
	MaxSessions int

	Log         Log
	TLS         TLS
	UpstreamTLS UpstreamTLS
	Stage       Stage
	StoreLimit  StoreLimit
	Limits      Limits
	Insert      Insert
	Routing     Routing
	Load        LoadConfig
	Greenplum   Greenplum
	Lease       Lease
	Label       Label
	Sweep       Sweep
	Breaker     Breaker
	Statement   Statement
}

// StoreLoaderConfig as Store: relyt_sys.LOADER_CONFIG() says where.
const StoreLoaderConfig = "loader_config"

// Log configures the log on standard error.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string
	// Format is text or json. Default text.
	Format string
}

// TLS configures the clients' side.
type TLS struct {
	// Cert and Key are PEM files; both or neither. Empty: TLS is not offered.
	Cert, Key string
	// Mode is disable (answer N even with a certificate), allow (clients choose)
	// or require (plain clients are refused). Default allow.
	Mode string
}

// UpstreamTLS configures the server's side.
type UpstreamTLS struct {
	// Mode is a libpq sslmode; unix sockets never use TLS. Default prefer.
	Mode string
	// CA is a PEM file of trusted roots. Empty: the system's.
	CA string
	// Cert and Key are the proxy's client certificate; both or neither.
	Cert, Key string
	// Direct begins with TLS instead of an SSLRequest (PostgreSQL 17). Needs
	// Mode require or stricter. Default false.
	Direct bool
}

// Stage configures what goes to S3 and what it may cost.
type Stage struct {
	// MinBytes is how much of a COPY is held back before it is staged; a shorter
	// one is sent natively. 0 stages all. Default 1MiB.
	MinBytes int64
	// FileBytes is the size at which a file is cut at the next row boundary.
	// Default 16MiB, 64KiB to 5GiB.
	FileBytes int64
	// PartBytes is the size of a part of a multipart upload. Default 8MiB, 5MiB
	// (S3's own minimum) to 5GiB.
	PartBytes int64
	// MemoryBytes bounds the staged bytes that all sessions hold in memory.
	// Default 64MiB, at least 8MiB.
	MemoryBytes int64
	// Spool allows unlinked local files for bytes beyond MemoryBytes. When it is
	// off, a load that would need one fails. Default on.
	Spool bool
	// SpoolDir is where they are made. Empty: the system's temporary directory.
	SpoolDir string
	// Uploads is the number of files that one load uploads at once. Default 2, 1
	// to 16.
	Uploads int
	// Ahead is the number of durable files of one load that may wait to be
	// loaded. Default 2, 0 to 64.
	Ahead int
	// Prefix goes before every key, behind the prefix of Store. Default empty.
	Prefix string
}

// StoreLimit bounds what the proxy asks of S3.
type StoreLimit struct {
	// Puts is the number of uploads at once over all sessions. Default 8, 1 to
	// 256.
	Puts int
}

// Limits bound what loads take at a time. Whose they are: of the role that the client
// has logged in as, and of its database. 0 is no limit.
type Limits struct {
	// Loads is how many run, over all sessions. Default 0.
	Loads int
	// Workers is how many processors work on the bytes of loads. Default 0: as many
	// as there are.
	Workers int
	// Nice is the niceness of the proxy's session, -20 to 19. Default 0: untouched.
	Nice int
	// Role and Database are what each role, and each database, may have of it.
	Role, Database OwnLimits
}

// OwnLimits are those of one role or database. 0 is no limit.
type OwnLimits struct {
	// Loads, Uploads and Workers are numbers. Default 0.
	Loads, Uploads, Workers int
	// MemoryBytes is for files; what is beyond it is spooled. Default 0.
	MemoryBytes int64
}

// Greenplum configures how engine greenplum has the segments read.
type Greenplum struct {
	// Reader is auto (as Load.Method says), copy, s3 or gpfdist. Default auto.
	Reader string
	// Listen is the HOST:PORT where the segments fetch what they need to read S3.
	// Empty: they read nothing from S3.
	Listen string
	// Advertise is the HOST:PORT by which they reach it. Empty: Listen.
	Advertise string
	// GpfdistListen is the HOST:PORT where they pull rows by the gpfdist protocol,
	// and GpfdistAdvertise where they reach it. Empty: they don't; GpfdistListen.
	GpfdistListen, GpfdistAdvertise string
	// GpfdistTimeout is how long the segments may take none of the rows.
	GpfdistTimeout time.Duration
	// Segments are the networks that the segments come from, with commas between.
	// Empty: any.
	Segments string
}

// The values of Greenplum.Reader besides MethodAuto and MethodCopy.
const (
	ReaderS3      = "s3"
	ReaderGpfdist = "gpfdist"
)

// Insert configures multi-row INSERT.
type Insert struct {
	// MinRows is the smallest number of rows that is looked at. Default 50, at
	// least 2.
	MinRows int
	// MinRowsAlone is that of an INSERT that nothing of its kind went before.
	// Default 500, at least 2.
	MinRowsAlone int
	// MinRowsBatch is that of a run of Bind and Execute. Default 100, at least 2.
	MinRowsBatch int
	// MinRowsBind is that of an INSERT with all rows in one Bind. Default 500; 0
	// relays them.
	MinRowsBind int
	// MaxBytes is the longest INSERT that is looked at. Default 64 MiB, 64 KiB to
	// 1 GiB.
	MaxBytes int64
	// StageBytes is the length of an INSERT from which its rows go through files
	// in S3. Default 8 MiB.
	StageBytes int64
}

// Routing configures tables with an auxiliary table.
type Routing struct {
	// Column is the routing column of tables that have neither routing_id nor
	// group_id. Default empty.
	Column string
	// Small routes INSERTs that are too small to be looked at otherwise. Default
	// on.
	Small bool
	// Reads has SELECT, UPDATE and DELETE see both tables. Default off.
	Reads bool
	// AutoThreshold is the number of rows from which a group is moved to the
	// auxiliary table once a load has pushed it there. Default 0: never.
	AutoThreshold int
	// AutoInterval is the least time between two such moves in a table. Default
	// 1m, 1s to 1d.
	AutoInterval time.Duration
}

// The values of load.method.
const (
	MethodAuto     = "auto"
	MethodExternal = "external"
	MethodCopy     = "copy"

	// The values of LoadConfig.Transcode besides MethodAuto.
	TranscodeOn  = "on"
	TranscodeOff = "off"
)

// LoadConfig configures loads.
type LoadConfig struct {
	// URLTTL is the life of a pre-signed URL. Default 15m, 1m to 7d (the longest
	// that S3 signs).
	URLTTL time.Duration
	// Method is how staged files reach the table where both ways are exact: auto,
	// external or copy. Default auto.
	Method string
	// Transcode: text and csv go to the server as COPY binary where that is the
	// same: on, off, or auto, where it was measured to be faster. Default auto.
	Transcode string
	// TranscodeWorkers is how many processors that may use; 0 is half of them.
	// Default 0, 0 to 256.
	TranscodeWorkers int
	// Concurrency is how many staged loads are imported at once. Default 2, 1 to
	// 1024.
	Concurrency int
	// ImportTimeout bounds one such import. Default 1h, 1s to 7d.
	ImportTimeout time.Duration
	// ImportErrorSleepTime is the first pause before another try. Default 1s, 10ms
	// to 1d.
	ImportErrorSleepTime time.Duration
}

// Lease configures how proxies know that one of them is lost.
type Lease struct {
	// Timeout is how long a proxy may be silent. Default 30s, 1s to 1d.
	Timeout time.Duration
	// Discover has the proxy look after the ledgers of all databases. Default on.
	Discover bool
}

// Label configures the labels of loads.
type Label struct {
	// Retention is how long one is remembered. Default 30d, 1m to 3650d.
	Retention time.Duration
}

// The values of sweep.keep.
const (
	KeepNever  = "never"
	KeepAlways = "always"
)

// Sweep configures the deletion of loaded and abandoned files.
type Sweep struct {
	// Grace is how long a file stays after its load ended. Default 5m, at most
	// 365d.
	Grace time.Duration
	// Interval is the time between two sweeps. Default 1m, 1s to 1d.
	Interval time.Duration
	// Keep says whether the files of loads that succeeded stay. Default never.
	Keep string
}

// Breaker configures when staging rests after failures.
type Breaker struct {
	// Failures in a row open the breaker. Default 3, 1 to 1000.
	Failures int
	// Cooldown is how long it then stays open. Default 30s, 1s to 1d.
	Cooldown time.Duration
}

// Statement bounds what is looked at.
type Statement struct {
	// MaxBytes is the longest statement text that is parsed; longer ones pass.
	// Default 1MiB, 1KiB to 1GiB.
	MaxBytes int64
}

// EngineName is the engine in effect: none where nothing is staged, plain where
// Engine needs a service connection and there is none, else Engine.
func (c Config) EngineName() string {
	switch {
	case c.RelayOnly:
		return "none"
	case c.ServiceDSN == "" && needsService(c.Engine):
		return EnginePlain
	}
	return c.Engine
}

// needsService says that an engine does nothing without what a service connection
// looks after.
func needsService(engine string) bool {
	e, err := registry.ByName(engine)
	return err != nil || e.Caps().InstallNeeded
}
