package proxy

import (
	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// limits are those of the configuration, by resource.
func limits(c config.Limits) bulk.Limits {
	limit := func(all int, of func(config.OwnLimits) int64) bulk.Limit {
		return bulk.Limit{All: int64(all), Role: of(c.Role), Database: of(c.Database)}
	}
	return bulk.Limits{
		Loads:   limit(c.Loads, func(o config.OwnLimits) int64 { return int64(o.Loads) }),
		Memory:  limit(0, func(o config.OwnLimits) int64 { return o.MemoryBytes }),
		Uploads: limit(0, func(o config.OwnLimits) int64 { return int64(o.Uploads) }),
		Workers: limit(c.Workers, func(o config.OwnLimits) int64 { return int64(o.Workers) }),
	}
}
