package config

import (
	"math"

	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
)

// Values of the keys that are choices and that code asks for. EnginePostgres and
// EnginePlain are what the demo and a proxy without service_dsn take.
const (
	EngineAuto     = "auto"
	EnginePostgres = "postgres"
	EnginePlain    = "plain"

	TLSDisable = "disable"
	TLSAllow   = "allow"
	TLSRequire = "require"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30

	millisecond = int64(1e6)
	second      = 1000 * millisecond
	minute      = 60 * second
	day         = 24 * 60 * minute

	noMax = int64(math.MaxInt64)
)

// Key describes one setting.
type Key struct {
	// Name is the dotted name, as in --set and in the file.
	Name string
	Kind Kind
	// Default in the spelling of the file.
	Default string
	// Min and Max bound Int, Size (bytes) and Duration (nanoseconds); Max of
	// math.MaxInt64 is no bound.
	Min, Max int64
	// Choices of a Choice.
	Choices []string
	// Secret values are masked wherever they are shown.
	Secret bool
	// Flag says that `serve` has a flag for it.
	Flag bool
	// Doc is one or two sentences for the documentation.
	Doc string

	// field returns a pointer to the field, of the type that Kind demands.
	field func(*Config) any
}

// Keys returns the table of all settings, in the order of the documentation.
func Keys() []Key {
	var all []Key
	for _, group := range [][]Key{mainKeys(), logKeys(), tlsKeys(), stageKeys(), limitKeys(), insertKeys(), routingKeys(), loadKeys(), greenplumKeys()} {
		all = append(all, group...)
	}
	return all
}

func mainKeys() []Key {
	return []Key{
		{Name: "listen", Kind: String, Default: "127.0.0.1:6432", Flag: true,
			Doc:   "Where clients connect: HOST:PORT, or an absolute directory for a unix socket, with :PORT behind it if that isn't 6432.",
			field: func(c *Config) any { return &c.Listen }},
		{Name: "upstream", Kind: String, Flag: true,
			Doc:   "The PostgreSQL server: HOST:PORT, or an absolute socket directory, with :PORT behind it if that isn't 5432. Required.",
			field: func(c *Config) any { return &c.Upstream }},
		{Name: "service_dsn", Kind: String, Secret: true, Flag: true,
			Doc:   "The proxy's own connection for the ledger (URL or keyword form); its database is replaced by the client's. Empty: no ledger, and engine plain.",
			field: func(c *Config) any { return &c.ServiceDSN }},
		{Name: "store", Kind: String, Secret: true, Flag: true,
			Doc:   "Where files are staged: s3://bucket/prefix?endpoint=…&region=…&path_style=true (credentials from the AWS chain), embedded:DIR, or loader_config: the settings that relyt_sys.LOADER_CONFIG() returns in the database of service_dsn. Required unless relay_only.",
			field: func(c *Config) any { return &c.Store }},
		{Name: "relay_only", Kind: Bool, Default: "off",
			Doc:   "Relay everything and stage nothing.",
			field: func(c *Config) any { return &c.RelayOnly }},
		{Name: "engine", Kind: Choice, Default: EngineAuto, Choices: append([]string{EngineAuto}, registry.Names()...), Flag: true,
			Doc:   "How the server reads staged files (docs/engines.md): auto finds out what the server is, over service_dsn; postgres (external tables by file_fdw, needs `pgbulkproxy install`), plain (the proxy sends the rows), or one of the distributed engines.",
			field: func(c *Config) any { return &c.Engine }},
		{Name: "metrics", Kind: String, Flag: true,
			Doc:   "HOST:PORT of /metrics, /healthz and /readyz. Empty: off.",
			field: func(c *Config) any { return &c.Metrics }},
		{Name: "auto_install", Kind: Bool, Default: "off", Flag: true,
			Doc:   "Install what the engine needs with the service role at the first load of each database. Needs service_dsn.",
			field: func(c *Config) any { return &c.AutoInstall }},
		{Name: "drain_timeout", Kind: Duration, Default: "30s", Min: 0, Max: day,
			Doc:   "How long running sessions may go on after SIGTERM. 0 ends them at once.",
			field: func(c *Config) any { return &c.DrainTimeout }},
		{Name: "startup_timeout", Kind: Duration, Default: "1m", Min: second, Max: 60 * minute,
			Doc:   "The longest time from a client's connect to the end of its authentication.",
			field: func(c *Config) any { return &c.StartupTimeout }},
		{Name: "dial_timeout", Kind: Duration, Default: "10s", Min: second / 10, Max: 10 * minute,
			Doc:   "The longest time for one connect to the server.",
			field: func(c *Config) any { return &c.DialTimeout }},
		{Name: "max_sessions", Kind: Int, Default: "0", Min: 0, Max: 1_000_000,
			Doc:   "The largest number of sessions; a further client is refused with SQLSTATE 53300. 0: no limit.",
			field: func(c *Config) any { return &c.MaxSessions }},
	}
}

func logKeys() []Key {
	return []Key{
		{Name: "log.level", Kind: Choice, Default: "info", Choices: []string{"debug", "info", "warn", "error"}, Flag: true,
			Doc:   "The least severe level that is logged, on standard error.",
			field: func(c *Config) any { return &c.Log.Level }},
		{Name: "log.format", Kind: Choice, Default: "text", Choices: []string{"text", "json"},
			Doc:   "The form of a log line.",
			field: func(c *Config) any { return &c.Log.Format }},
	}
}

func tlsKeys() []Key {
	return []Key{
		{Name: "tls.cert", Kind: String,
			Doc:   "PEM file of the certificate that clients see. Empty: TLS is not offered.",
			field: func(c *Config) any { return &c.TLS.Cert }},
		{Name: "tls.key", Kind: String,
			Doc:   "PEM file of its private key.",
			field: func(c *Config) any { return &c.TLS.Key }},
		{Name: "tls.mode", Kind: Choice, Default: TLSAllow, Choices: []string{TLSDisable, TLSAllow, TLSRequire},
			Doc:   "disable: never offer TLS; allow: clients choose, where there is a certificate; require: refuse plain clients on TCP.",
			field: func(c *Config) any { return &c.TLS.Mode }},
		{Name: "upstream_tls.mode", Kind: Choice, Default: "prefer",
			Choices: []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
			Doc:     "TLS to the server, by libpq's sslmode names. Unix sockets never use it.",
			field:   func(c *Config) any { return &c.UpstreamTLS.Mode }},
		{Name: "upstream_tls.ca", Kind: String,
			Doc:   "PEM file of the roots that verify-ca and verify-full trust. Empty: the system's.",
			field: func(c *Config) any { return &c.UpstreamTLS.CA }},
		{Name: "upstream_tls.cert", Kind: String,
			Doc:   "PEM file of the proxy's client certificate.",
			field: func(c *Config) any { return &c.UpstreamTLS.Cert }},
		{Name: "upstream_tls.key", Kind: String,
			Doc:   "PEM file of its private key.",
			field: func(c *Config) any { return &c.UpstreamTLS.Key }},
		{Name: "upstream_tls.direct", Kind: Bool, Default: "off",
			Doc:   "Begin with TLS instead of asking for it (PostgreSQL 17 and later). Needs mode require or stricter.",
			field: func(c *Config) any { return &c.UpstreamTLS.Direct }},
	}
}

func stageKeys() []Key {
	return []Key{
		{Name: "stage.min_bytes", Kind: Size, Default: "1MiB", Min: 0, Max: noMax,
			Doc:   "How much of a COPY is held back before it is staged; a shorter one is sent natively. 0 stages all.",
			field: func(c *Config) any { return &c.Stage.MinBytes }},
		{Name: "stage.file_bytes", Kind: Size, Default: "16MiB", Min: 64 * kib, Max: 5 * gib,
			Doc:   "A file is cut at the first row boundary at or behind this size.",
			field: func(c *Config) any { return &c.Stage.FileBytes }},
		{Name: "stage.part_bytes", Kind: Size, Default: "8MiB", Min: 5 * mib, Max: 5 * gib,
			Doc:   "Part size of multipart uploads. Files of up to four parts go up in one request, which needs no copying in the store.",
			field: func(c *Config) any { return &c.Stage.PartBytes }},
		{Name: "stage.memory_bytes", Kind: Size, Default: "64MiB", Min: 8 * mib, Max: noMax,
			Doc:   "The most staged bytes that all sessions together hold in memory; what is beyond it is spooled. Buffers of load.transcode count too, and may exceed it by half.",
			field: func(c *Config) any { return &c.Stage.MemoryBytes }},
		{Name: "stage.spool", Kind: Bool, Default: "on",
			Doc:   "Allow unlinked local files for bytes beyond stage.memory_bytes. When off, a load that would need one fails with a clear error.",
			field: func(c *Config) any { return &c.Stage.Spool }},
		{Name: "stage.spool_dir", Kind: String,
			Doc:   "Directory of those files. Empty: the system's temporary directory.",
			field: func(c *Config) any { return &c.Stage.SpoolDir }},
		{Name: "stage.uploads", Kind: Int, Default: "2", Min: 1, Max: 16,
			Doc:   "Files that one load uploads at once.",
			field: func(c *Config) any { return &c.Stage.Uploads }},
		{Name: "stage.ahead", Kind: Int, Default: "2", Min: 0, Max: 64,
			Doc:   "Durable files of one load that may wait to be loaded; when there are more, the proxy stops reading that client.",
			field: func(c *Config) any { return &c.Stage.Ahead }},
		{Name: "stage.prefix", Kind: String,
			Doc:   "Goes before every key, behind the prefix of store.",
			field: func(c *Config) any { return &c.Stage.Prefix }},
		{Name: "store_limit.puts", Kind: Int, Default: "8", Min: 1, Max: 256,
			Doc:   "Uploads at once over all sessions.",
			field: func(c *Config) any { return &c.StoreLimit.Puts }},
	}
}

func insertKeys() []Key {
	return []Key{
		{Name: "insert.min_rows", Kind: Int, Default: "50", Min: 2, Max: 1_000_000_000,
			Doc:   "The smallest number of rows of an INSERT … VALUES that is sent on as COPY or as arrays, where one of the kind went just before in the same transaction block; smaller ones are relayed.",
			field: func(c *Config) any { return &c.Insert.MinRows }},
		{Name: "insert.min_rows_alone", Kind: Int, Default: "500", Min: 2, Max: 1_000_000_000,
			Doc:   "The same for an INSERT outside a transaction block, or the first of its kind inside one: looking at the table costs the server as much as some hundred rows.",
			field: func(c *Config) any { return &c.Insert.MinRowsAlone }},
		{Name: "insert.min_rows_batch", Kind: Int, Default: "100", Min: 2, Max: 1_000_000_000,
			Doc:   "The smallest number of rows of a run of Bind and Execute before one Sync that is sent on as COPY. The first run of a transaction has to have insert.min_rows_alone.",
			field: func(c *Config) any { return &c.Insert.MinRowsBatch }},
		{Name: "insert.min_rows_bind", Kind: Int, Default: "500", Min: 0, Max: 1_000_000_000,
			Doc:   "The same for an INSERT whose rows all come as parameters of one Bind, and go on as COPY in binary. Others, with ON CONFLICT or RETURNING for example, are relayed, unless this is no more than insert.min_rows: PostgreSQL takes them faster than the proxy can turn them (docs/benchmarks.md). 0 relays all.",
			field: func(c *Config) any { return &c.Insert.MinRowsBind }},
		{Name: "insert.max_bytes", Kind: Size, Default: "64MiB", Min: 64 * kib, Max: gib,
			Doc:   "The longest INSERT that is looked at; twice its length is taken from stage.memory_bytes, and where that has no room it is relayed.",
			field: func(c *Config) any { return &c.Insert.MaxBytes }},
		{Name: "insert.stage_bytes", Kind: Size, Default: "8MiB", Min: 0, Max: noMax,
			Doc:   "The length of an INSERT, or of a batch of them, from which its rows go through files in S3 as those of a COPY do. Shorter ones, and those with ON CONFLICT or RETURNING, are sent on the session. 0 stages all.",
			field: func(c *Config) any { return &c.Insert.StageBytes }},
	}
}

func routingKeys() []Key {
	return []Key{
		{Name: "routing.column", Kind: String,
			Doc:   "The routing column of tables with an auxiliary table (docs/routing.md) that have neither a column routing_id nor group_id.",
			field: func(c *Config) any { return &c.Routing.Column }},
		{Name: "routing.small", Kind: Bool, Default: "on",
			Doc:   "Route INSERTs into such tables that are too small to be looked at otherwise. When off, those go to the table that they name.",
			field: func(c *Config) any { return &c.Routing.Small }},
		{Name: "routing.reads", Kind: Bool, Default: "off",
			Doc:   "Let SELECT, UPDATE and DELETE on such a table see the rows of its auxiliary table.",
			field: func(c *Config) any { return &c.Routing.Reads }},
		{Name: "routing.auto_threshold", Kind: Int, Default: "0", Min: 0, Max: 1_000_000_000_000,
			Doc:   "The number of rows from which a group is moved to the auxiliary table once a load has pushed it there. 0 moves none.",
			field: func(c *Config) any { return &c.Routing.AutoThreshold }},
		{Name: "routing.auto_interval", Kind: Duration, Default: "1m", Min: second, Max: day,
			Doc:   "The least time between two such moves in one table.",
			field: func(c *Config) any { return &c.Routing.AutoInterval }},
	}
}

func loadKeys() []Key {
	return []Key{
		{Name: "load.method", Kind: Choice, Default: MethodAuto, Choices: []string{MethodAuto, MethodExternal, MethodCopy},
			Doc:   "How rows get into the table where both ways are exact: external (the server reads the files in S3), copy (COPY on the session, with the files beside it), or auto: the one that was measured to be faster, which is copy on every engine whose figures there are (docs/engines.md). On engine relyt external is untested, and puts the store's credentials into SQL.",
			field: func(c *Config) any { return &c.Load.Method }},
		{Name: "load.transcode", Kind: Choice, Default: MethodAuto, Choices: []string{MethodAuto, TranscodeOn, TranscodeOff},
			Doc:   "Send rows in text and csv as COPY binary, on the session or in files that engine postgres reads, as far as each value is provably the same (docs/copy.md); the rows of INSERTs, too. auto: not on their way into a table of Citus, where that was measured to be slower on one machine (docs/engines.md).",
			field: func(c *Config) any { return &c.Load.Transcode }},
		{Name: "transcode.workers", Kind: Int, Default: "0", Min: 0, Max: 256,
			Doc:   "How many processors all loads together use for load.transcode at most; each load takes 2 MiB of stage.memory_bytes for one, and 0.7 MiB for each further one. 0 is half of the machine's.",
			field: func(c *Config) any { return &c.Load.TranscodeWorkers }},
		{Name: "load.concurrency", Kind: Int, Default: "2", Min: 1, Max: 1024,
			Doc:   "Loads acknowledged when staged (pgbulk.ack = 'staged') that are imported at once, over all databases; those of one table one after the other.",
			field: func(c *Config) any { return &c.Load.Concurrency }},
		{Name: "load.import_timeout", Kind: Duration, Default: "1h", Min: second, Max: 7 * day,
			Doc:   "The longest that one such import may take; after it the import is tried again.",
			field: func(c *Config) any { return &c.Load.ImportTimeout }},
		{Name: "load.import_error_sleep_time", Kind: Duration, Default: "1s", Min: 10 * millisecond, Max: day,
			Doc:   "The pause before an import that failed is tried again; it doubles with each try up to 64 times, and half of it is random.",
			field: func(c *Config) any { return &c.Load.ImportErrorSleepTime }},
		{Name: "lease.timeout", Kind: Duration, Default: "30s", Min: second, Max: day,
			Doc:   "How long a proxy may be silent before the others on the same ledger take it for lost, and its loads over.",
			field: func(c *Config) any { return &c.Lease.Timeout }},
		{Name: "lease.discover", Kind: Bool, Default: "on",
			Doc:   "Look after the ledgers of all databases of the server. When off, only after those that clients of this proxy have loaded into.",
			field: func(c *Config) any { return &c.Lease.Discover }},
		{Name: "label.retention", Kind: Duration, Default: "30d", Min: minute, Max: 3650 * day,
			Doc:   "How long the label of a load is remembered.",
			field: func(c *Config) any { return &c.Label.Retention }},
		{Name: "load.url_ttl", Kind: Duration, Default: "15m", Min: minute, Max: 7 * day,
			Doc:   "Life of the pre-signed URL with which the server reads one file.",
			field: func(c *Config) any { return &c.Load.URLTTL }},
		{Name: "sweep.grace", Kind: Duration, Default: "5m", Min: 0, Max: 365 * day,
			Doc:   "How long files stay in S3 after their load ended.",
			field: func(c *Config) any { return &c.Sweep.Grace }},
		{Name: "sweep.keep", Kind: Choice, Default: KeepNever, Choices: []string{KeepNever, KeepAlways},
			Doc:   "Whether the files of loads that succeeded stay in S3: never, or always, with a manifest for each load. With always, rows that go by COPY on the session are put there also where there is no ledger.",
			field: func(c *Config) any { return &c.Sweep.Keep }},
		{Name: "sweep.interval", Kind: Duration, Default: "1m", Min: second, Max: day,
			Doc:   "Time between two sweeps.",
			field: func(c *Config) any { return &c.Sweep.Interval }},
		{Name: "breaker.failures", Kind: Int, Default: "3", Min: 1, Max: 1000,
			Doc:   "Failed loads in a row after which staging rests.",
			field: func(c *Config) any { return &c.Breaker.Failures }},
		{Name: "breaker.cooldown", Kind: Duration, Default: "30s", Min: second, Max: day,
			Doc:   "How long it rests.",
			field: func(c *Config) any { return &c.Breaker.Cooldown }},
		{Name: "statement.max_bytes", Kind: Size, Default: "1MiB", Min: kib, Max: gib,
			Doc:   "The longest statement text that is parsed; longer ones pass.",
			field: func(c *Config) any { return &c.Statement.MaxBytes }},
	}
}
