package rewrite

import "github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"

// Refusal is a request for something of pgbulkproxy's own that it does not do.
// It must be answered as an error: to relay or ignore it would do something
// else than was asked for.
type Refusal struct {
	// Feature names what was asked for, by a fixed word of ours, such as
	// "COPY option LABEL".
	Feature string
	// Because is why it is not done here, where it is done elsewhere.
	Because Reason
	// Problem is what is wrong with an option or setting.
	Problem string
	// Answer is the whole error where it is none of the above.
	Answer *pgerr.Error
	// Native is the statement without what is ours, or "". Where the server
	// refuses that, too, its error is the answer.
	Native string
}

// Error implements error.
func (r *Refusal) Error() string {
	switch {
	case r.Answer != nil:
		return r.Answer.Get('M')
	case r.Problem != "":
		return "pgbulkproxy: " + r.Problem
	case r.Because != ReasonNone:
		return "pgbulkproxy: " + r.Feature + " is not supported here (" + string(r.Because) + ")"
	}
	return "pgbulkproxy: " + r.Feature + " is not supported yet"
}

// ErrorResponse returns the error that the client is to get: 22023,
// invalid_parameter_value, or 0A000, feature_not_supported.
func (r *Refusal) ErrorResponse() *pgerr.Error {
	switch {
	case r.Answer != nil:
		return r.Answer
	case r.Problem != "":
		return pgerr.New(pgerr.InvalidParameter, "%s", r.Error())
	}
	e := pgerr.New(pgerr.FeatureNotSupported, "%s", r.Error())
	for _, info := range Reasons() {
		if r.Because != ReasonNone && info.Reason == r.Because {
			return e.With('D', info.Meaning)
		}
	}
	return e
}
