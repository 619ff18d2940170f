package config

func limitKeys() []Key {
	all := []Key{
		{Name: "limits.loads", Kind: Int, Default: "0", Min: 0, Max: 1_000_000,
			Doc:   "How many loads run at a time. A COPY that would be one more is relayed (reason limit) and an INSERT streamed; one with options of ours, or into a table with an auxiliary one, is loaded all the same. 0: no limit.",
			field: func(c *Config) any { return &c.Limits.Loads }},
		{Name: "limits.workers", Kind: Int, Default: "0", Min: 0, Max: 1024,
			Doc:   "How many processors work on the bytes of loads at a time: look for the ends of rows, transcode, make checksums. 0: as many as there are.",
			field: func(c *Config) any { return &c.Limits.Workers }},
		{Name: "limits.nice", Kind: Int, Default: "0", Min: -20, Max: 19,
			Doc:   "The niceness of the proxy's session beside all others of the machine, among which Linux shares processors first (autogroup, sched(7)). Below 0 needs CAP_SYS_NICE. 0: it is left alone.",
			field: func(c *Config) any { return &c.Limits.Nice }},
	}
	all = append(all, ownLimitKeys("role", "each role that clients log in as", func(c *Config) *OwnLimits { return &c.Limits.Role })...)
	return append(all, ownLimitKeys("database", "each database", func(c *Config) *OwnLimits { return &c.Limits.Database })...)
}

// ownLimitKeys are the limits of one kind of owner.
func ownLimitKeys(kind, who string, of func(*Config) *OwnLimits) []Key {
	return []Key{
		{Name: "limits." + kind + "_loads", Kind: Int, Default: "0", Min: 0, Max: 1_000_000,
			Doc:   "The same as limits.loads for " + who + ". 0: no limit.",
			field: func(c *Config) any { return &of(c).Loads }},
		{Name: "limits." + kind + "_memory_bytes", Kind: Size, Default: "0", Min: 0, Max: noMax,
			Doc:   "The most of stage.memory_bytes that files of " + who + " have; what is beyond it is spooled. 0: no limit.",
			field: func(c *Config) any { return &of(c).MemoryBytes }},
		{Name: "limits." + kind + "_uploads", Kind: Int, Default: "0", Min: 0, Max: 1024,
			Doc:   "Uploads at once of " + who + ", within store_limit.puts; more wait. 0: no limit.",
			field: func(c *Config) any { return &of(c).Uploads }},
		{Name: "limits." + kind + "_workers", Kind: Int, Default: "0", Min: 0, Max: 1024,
			Doc:   "The same as limits.workers for " + who + ". 0: no limit.",
			field: func(c *Config) any { return &of(c).Workers }},
	}
}
