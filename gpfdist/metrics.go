package gpfdist

import "github.com/prometheus/client_golang/prometheus"

// metrics of a server. Without a registerer nobody collects them.
type metrics struct {
	streams  prometheus.Gauge
	requests *prometheus.CounterVec
	rows     prometheus.Counter
	bytes    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pgbulk_gpfdist_streams", Help: "Loads whose rows segments may pull now.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgbulk_gpfdist_requests_total", Help: "Requests of segments by result: ok, broken, refused.",
		}, []string{"result"}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgbulk_gpfdist_rows_total", Help: "Rows given to segments.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgbulk_gpfdist_bytes_total", Help: "Bytes of rows given to segments.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.streams, m.requests, m.rows, m.bytes)
	}
	return m
}

// served counts a request that has ended.
func (m *metrics) served(seg *segment, err error) {
	result := "ok"
	if err != nil {
		result = "broken"
	}
	m.requests.WithLabelValues(result).Inc()
	m.rows.Add(float64(seg.rows))
	m.bytes.Add(float64(seg.bytes))
}
