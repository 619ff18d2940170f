package rewrite

import (
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// ownReader reads one option of ours. It returns what a good value would be, or
// "". A bad value is no reason to pass: the server has never heard of the
// option. It is kept for Classify, which first lets the server say what it has
// against the statement.
type ownReader func(c *CopyStatement, o pgquery.Option) (good string)

const byOnConflict = "COPY option ON_CONFLICT"

// ownReaderOf returns the reader of an option of pgbulkproxy's own, or nil.
func ownReaderOf(name string) ownReader {
	switch name {
	case "on_conflict":
		return readConflictOption
	case "conflict_target":
		return readConflictTarget
	case "last_wins":
		return readLastWins
	case "compat":
		return readCompat
	case "mode":
		return readMode
	case "operation_column":
		return readOperationColumn
	case "label":
		return readLabelOption
	}
	return nil
}

// readOwn reads an option of ours.
func (c *CopyStatement) readOwn(read ownReader, o pgquery.Option) {
	good := read(c, o)
	if good != "" && c.Ext.problem == "" {
		c.Ext.problem = "COPY option " + strings.ToUpper(o.Name) + " must be " + good
	}
}

func readConflictOption(c *CopyStatement, o pgquery.Option) string {
	s, _ := text(o)
	conflict, ok := conflictOf(strings.ToLower(s))
	if !ok {
		return goodConflicts
	}
	c.Ext.OnConflict = conflict
	c.Ext.Asks = append(c.Ext.Asks, Ask{conflictFeature(conflict), byOnConflict})
	return ""
}

func conflictFeature(c Conflict) Feature {
	if c == ConflictError {
		return FeatureAppend
	}
	return FeatureUpsert
}

func readConflictTarget(c *CopyStatement, o pgquery.Option) string {
	names := o.List
	if o.Kind == pgquery.ValueString {
		names = []string{o.Text}
	}
	if len(names) == 0 || hasDuplicate(names) || slices.Contains(names, "") {
		return "a list of columns"
	}
	c.Ext.ConflictTarget = names
	c.Ext.ask(FeatureUpsert, "COPY option CONFLICT_TARGET")
	return ""
}

func readLastWins(c *CopyStatement, o pgquery.Option) string {
	on, ok := boolean(o)
	if !ok {
		return "true or false"
	}
	c.Ext.LastWins = on
	if on {
		c.Ext.ask(FeatureUpsert, "COPY option LAST_WINS")
	} else {
		c.Ext.ask(FeatureAppend, "COPY option LAST_WINS")
	}
	return ""
}

func readCompat(c *CopyStatement, o pgquery.Option) string {
	if s, _ := text(o); !strings.EqualFold(s, "relyt") {
		return "relyt"
	}
	c.Ext.Compat = true
	c.Ext.ask(FeatureUpsert, "COPY option COMPAT")
	return ""
}

func readMode(c *CopyStatement, o pgquery.Option) string {
	s, _ := text(o)
	feature := Feature(strings.ToLower(s))
	switch feature {
	case FeatureAppend:
		c.Ext.Mode = LoadAppend
	case FeatureOverwrite, FeatureUpsert, FeatureMerge:
		c.Ext.Mode = LoadMode(feature)
	default:
		return "append, overwrite, upsert or merge"
	}
	c.Ext.ask(feature, "COPY option MODE")
	return ""
}

func readOperationColumn(c *CopyStatement, o pgquery.Option) string {
	if o.Kind != pgquery.ValueString || o.Text == "" {
		return "the name of a column"
	}
	c.Ext.OperationColumn = o.Text
	c.Ext.ask(FeatureMerge, "COPY option OPERATION_COLUMN")
	return ""
}

func readLabelOption(c *CopyStatement, o pgquery.Option) string {
	if o.Kind != pgquery.ValueString || o.Text == "" || len(o.Text) > maxLabel {
		return goodLabel
	}
	c.Ext.Label = o.Text
	c.Ext.ask(FeatureLabel, "COPY option LABEL")
	return ""
}

// finishOwn checks the options of ours against each other, and takes the
// operation's column out of the list of the table's.
func (c *CopyStatement) finishOwn() {
	x := &c.Ext
	if x.problem != "" {
		return
	}
	merge := x.Mode == LoadMerge
	if x.Compat && x.Mode == LoadAppend && !x.conflictGiven() {
		x.Mode = LoadUpsert
	}
	switch {
	case x.Compat && (merge || x.Mode == LoadOverwrite || x.LastWins || x.Mode == LoadAppend && x.OnConflict == ConflictError):
		x.problem = "COPY option COMPAT relyt is an upsert: it needs ON_CONFLICT update or nothing, and neither LAST_WINS nor another MODE"
	case (merge || x.Mode == LoadUpsert) && x.conflictGiven() && x.OnConflict != ConflictUpdate:
		x.problem = "COPY options MODE upsert and merge need ON_CONFLICT update, or none"
	case merge != (x.OperationColumn != ""):
		x.problem = "COPY options MODE merge and OPERATION_COLUMN need each other"
	case merge:
		x.OperationAt = -1
		if c.Columns == nil {
			return
		}
		at := slices.Index(c.Columns, x.OperationColumn)
		if at < 0 || len(c.Columns) == 1 {
			x.problem = "COPY option OPERATION_COLUMN must be in the list of columns, beside those of the table"
			return
		}
		x.OperationAt = at
		c.Columns = slices.Delete(slices.Clone(c.Columns), at, at+1)
	}
}
