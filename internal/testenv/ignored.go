package testenv

import "go.uber.org/goleak"

// ignored are goroutines that belong to no test: the runtime's signal reader,
// and two of the embedded S3 server's library, of which one never ends and the
// other sleeps for ten seconds before it looks whether it should.
func ignored() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("os/signal.loop"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	}
}
