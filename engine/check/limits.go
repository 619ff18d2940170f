package check

import (
	"context"
	"strconv"
)

// Limited returns the checks of what the process and the server may take.
func Limited() []Check {
	return []Check{
		{Name: NameMemory, Run: memory, Remedy: "Lower stage.memory_bytes, or give the proxy more memory."},
		{Name: NameSpool, Run: spool, Remedy: "Set stage.spool_dir to a directory with room that the proxy may write to; or stage.spool=off, and loads beyond stage.memory_bytes fail."},
		{Name: NameFiles, Run: files, Remedy: "Raise the limit of open files (ulimit -n, LimitNOFILE=), or set max_sessions."},
		{Name: NameConnections, Needs: []string{NameService}, Run: connections,
			Remedy: "Raise max_connections of the server, or lower max_sessions."},
	}
}

// besides is what the process needs beside the staged bytes: sessions' buffers,
// the parser, the store's client.
const besides = 128 << 20

func memory(_ context.Context, e *Env) Result {
	l := e.Limits
	switch {
	case l.MemoryFree == 0:
		return Skipped("this system does not tell how much memory is free")
	case l.MemoryBytes > l.MemoryFree:
		return Bad("stage.memory_bytes is %d MiB, and %d MiB are free", l.MemoryBytes>>20, l.MemoryFree>>20)
	case l.MemoryBytes+besides > l.MemoryFree:
		return Doubtful("stage.memory_bytes is %d MiB of the %d MiB that are free: sessions need some, too", l.MemoryBytes>>20, l.MemoryFree>>20)
	}
	return Good("stage.memory_bytes is %d MiB of the %d MiB that are free", l.MemoryBytes>>20, l.MemoryFree>>20)
}

// littleSpool is a handful of long loads.
const littleSpool = 1 << 30

func spool(_ context.Context, e *Env) Result {
	l := e.Limits
	switch {
	case l.SpoolDir == "":
		return Skipped("stage.spool is off")
	case l.SpoolErr != nil:
		return Bad("%v", l.SpoolErr)
	case l.SpoolFree < littleSpool:
		return Doubtful("%s has %d MiB free", l.SpoolDir, l.SpoolFree>>20)
	}
	return Good("%s has %d MiB free", l.SpoolDir, l.SpoolFree>>20)
}

// filesBesides is what loads open: parts, spools, service connections.
const filesBesides = 256

func files(_ context.Context, e *Env) Result {
	l := e.Limits
	if l.Files == 0 {
		return Skipped("this system does not tell the limit of open files")
	}
	// A session has two sockets.
	if n := uint64(2*l.MaxSessions + filesBesides); l.Files < n {
		return Bad("%d files may be open; %d sessions need %d", l.Files, l.MaxSessions, n)
	}
	if l.MaxSessions == 0 && l.Files < 4*filesBesides {
		return Doubtful("%d files may be open, which is enough for some %d sessions", l.Files, (l.Files-min(l.Files, filesBesides))/2)
	}
	return Good("%d files may be open", l.Files)
}

func connections(ctx context.Context, e *Env) Result {
	rows, err := e.DB.Query(ctx, "SELECT pg_catalog.current_setting('max_connections'), pg_catalog.current_setting('superuser_reserved_connections'), "+
		"(SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user), "+
		"(SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())")
	if err != nil || len(rows) != 1 {
		return Bad("%v", err)
	}
	var n [4]int
	for i := range n {
		if n[i], err = strconv.Atoi(rows[0][i]); err != nil {
			return Bad("%v", err)
		}
	}
	room := n[0] - n[1]
	if 0 <= n[2] && n[2] < 4 {
		return Bad("role %s may have %d connections, and the proxy uses up to 4 to each database", e.Session.Role, n[2]).
			With("ALTER ROLE … CONNECTION LIMIT -1 for the role of service_dsn.")
	}
	if n[3] >= 0 {
		room = min(room, n[3])
	}
	if e.Limits.MaxSessions > room {
		return Doubtful("the server takes %d connections, and max_sessions is %d", room, e.Limits.MaxSessions)
	}
	return Good("the server takes %d connections", room)
}
