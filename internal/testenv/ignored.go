package testenv

import "go.uber.org/goleak"

// ignored are goroutines that belong to no test: the runtime's signal reader.
func ignored() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("os/signal.loop"),
	}
}
