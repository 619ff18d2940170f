package wire

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// metrics of the wire layer. The zero registerer gives metrics that nobody
// collects.
type metrics struct {
	statements *prometheus.CounterVec
	// small INSERTs are resolved once: the relay counts them without a lookup.
	small prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, sessions func() float64) *metrics {
	m := &metrics{
		statements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgbulk_statements_total",
			Help: "Bulk statements by kind, decision (pass, stream, stage) and reason.",
		}, []string{"kind", "decision", "reason"}),
	}
	m.small = m.statements.WithLabelValues(string(rewrite.KindInsert), string(rewrite.Pass), string(rewrite.ReasonSmall))
	if reg != nil {
		reg.MustRegister(m.statements, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pgbulk_sessions",
			Help: "Client sessions that are connected now.",
		}, sessions))
	}
	return m
}

// pass counts a statement that is relayed.
func (m *metrics) pass(kind rewrite.Kind, reason rewrite.Reason) {
	if kind == rewrite.KindInsert && reason == rewrite.ReasonSmall {
		m.small.Inc()
		return
	}
	m.count(kind, rewrite.Decision{Way: rewrite.Pass, Reason: reason})
}

func (m *metrics) count(kind rewrite.Kind, d rewrite.Decision) { m.add(kind, d, 1) }

// add counts n statements.
func (m *metrics) add(kind rewrite.Kind, d rewrite.Decision, n int) {
	m.statements.WithLabelValues(string(kind), string(d.Way), string(d.Reason)).Add(float64(n))
}
