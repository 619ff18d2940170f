package proxy

import (
	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/s3conf"
)

// openSegments starts the server from which segments fetch what they need to read
// the store, or returns nil where the configuration has none.
func (p *Proxy) openSegments() (bulk.Configs, error) {
	g := p.cfg.Greenplum
	if g.Listen == "" {
		return nil, nil
	}
	from, err := g.Networks()
	if err != nil {
		return nil, err
	}
	p.segments, err = s3conf.Start(s3conf.Config{Listen: g.Listen, Advertise: g.Advertise, From: from}, p.bucket)
	if err != nil {
		return nil, err
	}
	return p.segments, nil
}
