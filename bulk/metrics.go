package bulk

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// The legs of pgbulk_bytes_total and the phases of pgbulk_phase_seconds.
const (
	legClient = "client" // COPY data from the client
	legStore  = "store"  // files put into the store
	legServer = "server" // COPY data to the server

	phaseReceive = "receive"
	phaseUpload  = "upload"
	phaseLoad    = "load"
)

// metrics of the loads. Without a registerer nobody collects them.
type metrics struct {
	loads     *prometheus.CounterVec
	fallbacks *prometheus.CounterVec
	rowsTotal prometheus.Counter
	byLeg     map[string]prometheus.Counter
	phases    map[string]prometheus.Observer
	ledger    prometheus.Counter
	reg       prometheus.Registerer
	fits      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pgbulk_bytes_total", Help: "Bytes of loads by leg: client, store, server.",
	}, []string{"leg"})
	phases := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pgbulk_phase_seconds", Help: "Seconds per phase: receive a load's data, upload a file, load a file.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
	}, []string{"phase"})
	m := &metrics{
		reg: reg,
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgbulk_loads_total", Help: "Staged loads by engine method and result.",
		}, []string{"engine", "result"}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgbulk_fallbacks_total", Help: "Loads that went on natively, by reason: store, engine, count, irregular, cancel.",
		}, []string{"reason"}),
		rowsTotal: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgbulk_rows_total", Help: "Rows of staged loads that succeeded.",
		}),
		ledger: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgbulk_ledger_errors_total", Help: "Ledger entries that could not be written.",
		}),
		fits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgbulk_transcoded_files_total", Help: "Files that were sent as COPY binary: ok, or misfit where they then went as they are.",
		}, []string{"result"}),
		byLeg: map[string]prometheus.Counter{}, phases: map[string]prometheus.Observer{},
	}
	for _, leg := range []string{legClient, legStore, legServer} {
		m.byLeg[leg] = bytes.WithLabelValues(leg)
	}
	for _, p := range []string{phaseReceive, phaseUpload, phaseLoad} {
		m.phases[p] = phases.WithLabelValues(p)
	}
	if reg != nil {
		reg.MustRegister(bytes, phases, m.loads, m.fallbacks, m.rowsTotal, m.ledger, m.fits)
	}
	return m
}

func (m *metrics) bytes(leg string, n int) { m.byLeg[leg].Add(float64(n)) }

func (m *metrics) phase(phase string, d time.Duration) { m.phases[phase].Observe(d.Seconds()) }

func (m *metrics) rows(n int64) { m.rowsTotal.Add(float64(n)) }

// importMetrics are those of an Importer.
type importMetrics struct {
	results *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newImportMetrics(reg prometheus.Registerer) importMetrics {
	m := importMetrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgbulk_imports_total", Help: "Tries to import a staged load by result: ok, retry, error, fenced.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pgbulk_import_seconds", Help: "Seconds of a try to import a staged load.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 20),
		}),
	}
	if reg != nil {
		reg.MustRegister(m.results, m.seconds)
	}
	return m
}

func (m *importMetrics) count(result string, d time.Duration) {
	m.results.WithLabelValues(result).Inc()
	m.seconds.Observe(d.Seconds())
}

func (m *metrics) transcodedFile(ok bool) {
	result := "ok"
	if !ok {
		result = "misfit"
	}
	m.fits.WithLabelValues(result).Inc()
}

func (m *metrics) ledgerFailed() { m.ledger.Inc() }

func (m *metrics) load(engine, result string, fallback rewrite.Reason) {
	m.loads.WithLabelValues(engine, result).Inc()
	if fallback != "" {
		m.fallbacks.WithLabelValues(string(fallback)).Inc()
	}
}

// limits shows what is in use of each resource.
func (m *metrics) limits(of map[string]*quota) {
	if m.reg == nil {
		return
	}
	for name, q := range of {
		labels := prometheus.Labels{"resource": name}
		m.reg.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "pgbulk_limit_in_use", Help: "What loads have of a limited resource: loads, memory (bytes of files), uploads, workers.", ConstLabels: labels,
			}, func() float64 { used, _, _ := q.state(); return float64(used) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "pgbulk_limit_waiting", Help: "Who waits for a limited resource.", ConstLabels: labels,
			}, func() float64 { _, waiting, _ := q.state(); return float64(waiting) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "pgbulk_limit_refused_total", Help: "How often a limit refused: a load, which was relayed then, or memory, in whose place a local file was taken.", ConstLabels: labels,
			}, func() float64 { _, _, refused := q.state(); return float64(refused) }),
		)
	}
}
