package rewrite

// ownErrors says whether ON_ERROR ignore is ours to do: where the server can't.
// On servers that can, the option means what they mean by it.
func (x *Extensions) ownErrors(c *CopyStatement, in *Inspection) bool {
	native := 170000
	if c.RejectLimit > 0 {
		native = 180000
	}
	return Supported(FeatureErrors) && c.OnError == "ignore" && in.Version < native
}

// errorsBy names the option or setting that asks for bad rows to be skipped.
func (x *Extensions) errorsBy() string {
	for _, a := range x.Asks {
		if a.Feature == FeatureErrors {
			return a.By
		}
	}
	return ""
}

// WithoutErrors is the statement without the options that say what becomes of
// bad rows: the server is not to know of them where they are ours.
func (c *CopyStatement) WithoutErrors() *CopyStatement {
	out := *c
	out.OnError, out.RejectLimit = "", 0
	return &out
}

// toleranceReason says why bad rows can't be skipped here: where it would show
// that it takes several COPYs. A load that may be answered when it is staged is
// answered when it is loaded.
func (c *CopyStatement) toleranceReason(in *Inspection, x *Extensions) Reason {
	switch {
	case in.Routed():
		return ReasonErrorsRouted
	case c.Format == FormatBinary:
		return ReasonErrorsBinary
	case x.OnConflict != ConflictError || x.Mode != LoadAppend:
		return ReasonErrorsWith
	case in.StatementTriggers:
		return ReasonStatementTriggers
	case in.SelfReference:
		return ReasonSelfReference
	}
	return ReasonNone
}
