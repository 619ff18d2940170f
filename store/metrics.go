package store

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts the operations on a store. A nil pointer counts nothing.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	retries  prometheus.Counter
}

// newMetrics registers the metrics; without a registerer there are none.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	if r == nil {
		return nil, nil
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgbulk_store_requests_total",
			Help: "Operations on the object store by kind and result: ok, not_found, canceled or error.",
		}, []string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pgbulk_store_seconds",
			Help: "Duration of operations on the object store, with their retries.",
			// 1 ms, a small object in a near store, to 66 s, a timeout and retries.
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"op"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgbulk_store_retries_total",
			Help: "Requests to the object store that were sent again, for an error or because the store was too slow.",
		}),
	}
	return m, errors.Join(r.Register(m.requests), r.Register(m.seconds), r.Register(m.retries))
}

func (m *metrics) retried() {
	if m != nil {
		m.retries.Inc()
	}
}

func (m *metrics) observe(op string, start time.Time, err error) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(op, result(err)).Inc()
	m.seconds.WithLabelValues(op).Observe(time.Since(start).Seconds())
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "error"
}

// measured reports every operation to metrics. An Open counts until the answer,
// a List until its end.
type measured struct {
	Full
	m *metrics
}

func (s *measured) Put(ctx context.Context, key string, c Content) (err error) {
	defer func(start time.Time) { s.m.observe("put", start, err) }(time.Now())
	return s.Full.Put(ctx, key, c)
}

func (s *measured) Open(ctx context.Context, key string) (_ io.ReadCloser, err error) {
	defer func(start time.Time) { s.m.observe("open", start, err) }(time.Now())
	return s.Full.Open(ctx, key)
}

func (s *measured) Delete(ctx context.Context, keys ...string) (err error) {
	defer func(start time.Time) { s.m.observe("delete", start, err) }(time.Now())
	return s.Full.Delete(ctx, keys...)
}

func (s *measured) PresignGet(ctx context.Context, key string, ttl time.Duration) (_ string, err error) {
	defer func(start time.Time) { s.m.observe("sign", start, err) }(time.Now())
	return s.Full.PresignGet(ctx, key, ttl)
}

func (s *measured) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		var failure error
		defer func(start time.Time) { s.m.observe("list", start, failure) }(time.Now())
		for info, err := range s.Full.List(ctx, prefix) {
			failure = err
			if !yield(info, err) {
				return
			}
		}
	}
}

func (s *measured) AbortUploads(ctx context.Context, prefix string, before time.Time) (_ int, err error) {
	defer func(start time.Time) { s.m.observe("abort_uploads", start, err) }(time.Now())
	return s.Full.AbortUploads(ctx, prefix, before)
}
