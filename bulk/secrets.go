package bulk

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// accessTimeout bounds what the AWS chain may take to give credentials, while the
// session waits.
const accessTimeout = 10 * time.Second

// giveAccess gives a plan what it needs to name the store: asked for each group, since
// credentials expire.
func (ld *Load) giveAccess(g *engine.Group) error {
	ctx, cancel := context.WithTimeout(ld.ctx, accessTimeout)
	defer cancel()
	cfg, err := ld.l.access(ctx)
	if err != nil {
		return err
	}
	if cfg.AccessKey == "" {
		return errors.New("the store has no credentials")
	}
	g.Endpoint, g.Region = cfg.Host(), cfg.Region
	g.Access = engine.Access{ID: cfg.AccessKey, Secret: string(cfg.SecretKey), Token: string(cfg.SessionToken)}
	return nil
}

// MaskError returns what a server said while a statement of ours ran, in all its fields
// without secrets of ours: contexts and internal queries quote statements.
func MaskError(e *pgerr.Error) *pgerr.Error { return masked(e, engine.MaskURL) }

func masked(e *pgerr.Error, mask func(string) string) *pgerr.Error {
	fields := slices.Clone(e.Fields)
	for i := range fields {
		fields[i].Value = mask(fields[i].Value)
	}
	return &pgerr.Error{Fields: fields}
}

// withoutSecrets is what the server said to a plan that held credentials. This is the
// one place where such texts come in: they go on to the log, the ledger and the client.
func withoutSecrets(a engine.Access, results []Result, err error) ([]Result, error) {
	if a == (engine.Access{}) {
		return results, err
	}
	for i, r := range results {
		for j, notice := range r.Notices {
			results[i].Notices[j] = masked(pgerr.Parse(notice), a.Mask).AppendBody(nil)
		}
	}
	if e := pgerr.As(err); e != nil {
		err = masked(e, a.Mask)
	}
	return results, err
}
