package rewrite

import (
	"slices"
	"strconv"
)

// Extensions are what a COPY asks of pgbulkproxy that PostgreSQL does not have,
// by options of the statement and by settings pgbulk.*. Options win.
type Extensions struct {
	// Asks are the features that were asked for, in order; empty where the
	// statement is PostgreSQL's own.
	Asks []Ask
	// OnConflict is what becomes of a row whose key is there already.
	OnConflict Conflict
	// ConflictTarget are the columns of the key; nil is the primary key.
	ConflictTarget []string
	// LastWins: of rows of the data with the same key the last one counts.
	LastWins bool
	// Compat: as the original loader of Relyt upserts. Of rows of the data with the
	// same key the first one counts, and those with NULL in the key are left out.
	Compat bool
	Mode   LoadMode
	// OperationColumn is the column of the data that says what to do with its
	// row, for LoadMerge; it is not among the statement's Columns. OperationAt is
	// its place in the data, -1 behind all others.
	OperationColumn string
	OperationAt     int
	// Label is empty where there is none.
	Label string
	// IgnoreErrors: bad rows are left out, up to MaxErrors of them; 0 is without
	// a limit.
	IgnoreErrors bool
	MaxErrors    int64
	// MaxErrorsOption: MaxErrors is REJECT_LIMIT, and not the setting.
	MaxErrorsOption bool
	// Staged: the answer may come as soon as the rows are durable in the store.
	Staged bool

	// problem is what is wrong with an option's value, for Classify to refuse.
	problem string
}

// Ask is one feature that was asked for. By names the option or setting, by a
// fixed word of ours.
type Ask struct {
	Feature Feature
	By      string
}

// LoadMode is the option MODE. The zero value is append.
type LoadMode string

// The values of MODE.
const (
	LoadAppend    LoadMode = ""
	LoadOverwrite LoadMode = "overwrite"
	LoadUpsert    LoadMode = "upsert"
	LoadMerge     LoadMode = "merge"
)

// Feature is a group of extensions that is there or not.
type Feature string

// The features.
const (
	FeatureAppend    Feature = "append"
	FeatureUpsert    Feature = "upsert"
	FeatureOverwrite Feature = "overwrite"
	FeatureMerge     Feature = "merge"
	FeatureLabel     Feature = "label"
	FeatureErrors    Feature = "errors"
	FeatureStaged    Feature = "staged"
)

// features says which are there: the one place where one is switched on.
func features() map[Feature]bool {
	return map[Feature]bool{
		FeatureAppend:    true,
		FeatureUpsert:    true,
		FeatureOverwrite: true,
		FeatureMerge:     true,
		FeatureLabel:     true,
		FeatureErrors:    true,
		FeatureStaged:    true,
	}
}

// Supported says whether a feature is there.
func Supported(f Feature) bool { return features()[f] }

// Asked says whether the statement asks for more than PostgreSQL has: then it
// is ours whatever its size, and must never go to the server as it is.
func (x *Extensions) Asked() bool { return len(x.Asks) > 0 || x.problem != "" }

// Ours says whether only we can do what was asked for. A statement that may be
// answered when it is staged is none of those: the server answers when the rows
// are in the table, which promises more.
func (x *Extensions) Ours() bool {
	return x.problem != "" || slices.ContainsFunc(x.Asks, func(a Ask) bool { return a.Feature != FeatureStaged })
}

// Has says whether a feature was asked for.
func (x *Extensions) Has(f Feature) bool {
	return slices.ContainsFunc(x.Asks, func(a Ask) bool { return a.Feature == f })
}

func (x *Extensions) ask(f Feature, by string) {
	if !x.Has(f) {
		x.Asks = append(x.Asks, Ask{f, by})
	}
}

// maxLabel bounds a label: it becomes part of a key of the ledger.
const maxLabel = 256

const (
	goodConflicts = "nothing, update or error"
	goodLabel     = "a text of 1 to 256 bytes"
)

// resolve returns the extensions of the statement together with those of the
// session's settings, or what is wrong with them.
func (c *CopyStatement) resolve(in *Inspection) (x Extensions, problem string) {
	x = c.Ext
	x.Asks = slices.Clone(x.Asks)
	if x.problem != "" {
		return x, x.problem
	}
	for _, set := range []struct {
		name, value string
		read        func(c *CopyStatement, x *Extensions, value, by string) (good string)
	}{
		{"pgbulk.ack", in.Ack, readAck},
		{"pgbulk.on_conflict", in.OnConflict, readOnConflict},
		{"pgbulk.max_error_records", in.MaxErrorRecords, readMaxErrors},
		{"pgbulk.label", in.Label, readLabel},
		{"pgbulk.coalesce", in.Coalesce, readCoalesce},
	} {
		if set.value == "" {
			continue
		}
		if good := set.read(c, &x, set.value, "setting "+set.name); good != "" {
			return x, "setting " + set.name + " must be " + good
		}
	}
	if x.ownErrors(c, in) {
		x.IgnoreErrors, x.MaxErrors, x.MaxErrorsOption = true, c.RejectLimit, true
		x.ask(FeatureErrors, "COPY option ON_ERROR")
	}
	if x.Mode == LoadUpsert || x.Mode == LoadMerge {
		x.OnConflict = ConflictUpdate
	}
	if x.OnConflict == ConflictError && (x.LastWins || x.ConflictTarget != nil) {
		return x, "COPY options CONFLICT_TARGET and LAST_WINS need ON_CONFLICT, or MODE upsert or merge"
	}
	return x, ""
}

// The readers of settings return what would be good where the value is not.

func readAck(_ *CopyStatement, x *Extensions, value, by string) string {
	switch value {
	case "staged":
		x.Staged = true
		x.ask(FeatureStaged, by)
	case "loaded":
	default:
		return "loaded or staged"
	}
	return ""
}

func readOnConflict(_ *CopyStatement, x *Extensions, value, by string) string {
	conflict, ok := conflictOf(value)
	switch {
	case x.Mode == LoadUpsert || x.Mode == LoadMerge || x.conflictGiven():
	case !ok:
		return goodConflicts
	case conflict != ConflictError:
		x.OnConflict = conflict
		x.ask(FeatureUpsert, by)
	}
	return ""
}

// conflictGiven says whether the statement has ON_CONFLICT itself.
func (x *Extensions) conflictGiven() bool {
	return slices.ContainsFunc(x.Asks, func(a Ask) bool { return a.By == byOnConflict })
}

func readMaxErrors(c *CopyStatement, x *Extensions, value, by string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return "a number of rows, 0 or more"
	}
	if n > 0 && c.OnError == "" {
		x.IgnoreErrors, x.MaxErrors = true, n
		x.ask(FeatureErrors, by)
	}
	return ""
}

func readLabel(_ *CopyStatement, x *Extensions, value, by string) string {
	switch {
	case x.Label != "":
	case len(value) > maxLabel:
		return goodLabel
	default:
		x.Label = value
		x.ask(FeatureLabel, by)
	}
	return ""
}

// readCoalesce finds a wrong value; the right ones are about INSERTs.
func readCoalesce(_ *CopyStatement, _ *Extensions, value, _ string) string {
	if value != "off" && value != "transaction" {
		return "off or transaction"
	}
	return ""
}

func conflictOf(word string) (Conflict, bool) {
	switch word {
	case "error":
		return ConflictError, true
	case "nothing":
		return ConflictNothing, true
	case "update":
		return ConflictUpdate, true
	}
	return "", false
}
