package rewrite

import "github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"

// Refusal is a request for something of pgbulkproxy's own that is not
// implemented. It must be answered as an error: to relay or ignore it would do
// something else than was asked for.
type Refusal struct {
	// Feature names what was asked for, by a fixed word of ours, such as
	// "COPY option LABEL".
	Feature string
}

// Error implements error.
func (r *Refusal) Error() string {
	return "pgbulkproxy: " + r.Feature + " is not supported yet"
}

// ErrorResponse returns the error that the client is to get: 0A000,
// feature_not_supported.
func (r *Refusal) ErrorResponse() *pgerr.Error {
	return pgerr.New(pgerr.FeatureNotSupported, "%s", r.Error())
}
