package rewrite

// transcodableVersion is the oldest server with whose types package transcode was
// compared.
const transcodableVersion = 140000

// Transcodable says that rows of a COPY that is loaded so may go as COPY binary, as
// far as that can be known before the server is asked about the columns: where
// several COPYs do the same as one, and nothing that a COPY could tell the client
// comes before it is known to succeed; or where the server reads files itself.
func (d *Decision) Transcodable(c *CopyStatement, in *Inspection) bool {
	external := d.Method == MethodExternal
	switch {
	case d.Way != Stage, in.Version < transcodableVersion:
		return false
	case d.Method != MethodCopy && d.Method != MethodTable && !external, external && in.Spread:
		return false
	case d.Method == MethodCopy && c.wholeReason(in) != ReasonNone:
		return false
	case c.Format == FormatBinary, c.Where, c.HeaderMatch, c.HeaderLines > 1, c.DefaultSet, external && c.Freeze:
		return false
	case !d.Ext.IgnoreErrors && (c.OnError != "" || c.LogVerbosity != "" || c.RejectLimit != 0):
		return false
	}
	return in.CopyEncoding == "" || in.CopyEncoding == in.ClientEncoding
}
