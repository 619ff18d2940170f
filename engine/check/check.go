package check

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Status is how a check ended.
type Status string

// The statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Result is what one check found.
type Result struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Detail is one line of what was found, without secrets.
	Detail string `json:"detail"`
	// Remedy is what to do about it; empty for OK and Skip.
	Remedy string `json:"remedy,omitempty"`
}

// Check is one thing that a load needs.
type Check struct {
	// Name is stable: scripts find the check by it.
	Name string
	// Needs are checks that must have succeeded, or this one would only repeat what
	// they say.
	Needs []string
	// Run looks. It leaves nothing behind.
	Run func(ctx context.Context, e *Env) Result
	// Remedy is what to do where Run's result has none of its own.
	Remedy string
}

// Good is a result that needs nothing to be done.
func Good(format string, args ...any) Result {
	return Result{Status: OK, Detail: fmt.Sprintf(format, args...)}
}

// Bad is a failure that the check's remedy is for.
func Bad(format string, args ...any) Result {
	return Result{Status: Fail, Detail: fmt.Sprintf(format, args...)}
}

// Doubtful is what works and should be looked at.
func Doubtful(format string, args ...any) Result {
	return Result{Status: Warn, Detail: fmt.Sprintf(format, args...)}
}

// Skipped is what does not matter here.
func Skipped(format string, args ...any) Result {
	return Result{Status: Skip, Detail: fmt.Sprintf(format, args...)}
}

// With returns r with a remedy of its own.
func (r Result) With(format string, args ...any) Result {
	r.Remedy = fmt.Sprintf(format, args...)
	return r
}

// limit bounds one check: the slowest wait for a connection that nobody answers.
const limit = 30 * time.Second

// RunAfter runs the checks in their order, each within a limit, and tells each
// result. earlier are the results of those that ran before: they may be needed.
func RunAfter(ctx context.Context, earlier []Result, checks []Check, e *Env, tell func(Result)) []Result {
	good := map[string]bool{}
	for _, r := range earlier {
		good[r.Name] = r.good()
	}
	var results []Result
	for _, c := range checks {
		r := c.run(ctx, e, good)
		r.Name = c.Name
		good[c.Name] = r.good()
		switch {
		case r.Status != Fail && r.Status != Warn:
			r.Remedy = ""
		case r.Remedy == "":
			r.Remedy = c.Remedy
		}
		results = append(results, r)
		tell(r)
	}
	return results
}

// good says that what needs the check may run.
func (r Result) good() bool { return r.Status == OK || r.Status == Warn }

func (c Check) run(ctx context.Context, e *Env, good map[string]bool) Result {
	for _, name := range c.Needs {
		if !good[name] {
			return Skipped("needs %s", name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.Run(ctx, e)
}

// Failed says whether one of the results is a failure.
func Failed(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Status == Fail })
}
