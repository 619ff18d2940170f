package rewrite

// The reasons of statements that read or change routed tables, with
// routing.reads = on.
const (
	ReasonNotRead        Reason = "not_read"
	ReasonNotRouted      Reason = "not_routed"
	ReasonReadForm       Reason = "read_form"
	ReasonRoutingProblem Reason = "routing_problem"
	ReasonReadPrivilege  Reason = "read_privilege"
	ReasonRowLocks       Reason = "row_locks"
	ReasonSample         Reason = "sample"
	ReasonSystemColumn   Reason = "system_column"
	ReasonWholeRow       Reason = "whole_row"
	ReasonQualified      Reason = "qualified_column"
	ReasonNoSuchColumn   Reason = "no_such_column"
	ReasonGrouping       Reason = "grouping"
	ReasonReadsItself    Reason = "reads_itself"
	ReasonSetsRouting    Reason = "sets_routing_column"
	ReasonCurrentOf      Reason = "current_of"
	ReasonChangeInWith   Reason = "change_in_with"
	ReasonExplainChange  Reason = "explain_change"
	ReasonAuxColumn      Reason = "aux_column"
	ReasonUnion          Reason = "union"
	ReasonPinned         Reason = "pinned"
	ReasonBothTables     Reason = "both_tables"
)

func readReasons() []ReasonInfo {
	return []ReasonInfo{
		{ReasonNotRead, "read", "The statement is no SELECT, UPDATE or DELETE, nor INSERT … SELECT, EXPLAIN, DECLARE CURSOR or COPY … TO of one."},
		{ReasonNotRouted, "read", "None of the names means a routed table in this session."},
		{ReasonReadForm, "read", "The statement names a routed table in a place that is not understood."},
		{ReasonChangeInWith, "read", "A statement inside WITH, or an INSERT, changes a routed table."},
		{ReasonExplainChange, "read", "EXPLAIN of an UPDATE or DELETE: two statements would run in its place."},
		{ReasonRoutingProblem, "read", "The main and the auxiliary table do not fit together; `pgbulkproxy routing show` says why."},
		{ReasonReadPrivilege, "read", "The role may not read all columns of both tables."},
		{ReasonRowLocks, "read", "FOR UPDATE or FOR SHARE locks rows of a table, which a union has none of."},
		{ReasonSample, "read", "TABLESAMPLE takes from a table, not from a union."},
		{ReasonSystemColumn, "read", "System columns (ctid, xmin, tableoid, …) belong to one table."},
		{ReasonWholeRow, "read", "A reference to the whole row has the table's own type."},
		{ReasonQualified, "read", "A column is named with schema and table."},
		{ReasonNoSuchColumn, "read", "What is written as a column of the table is none: a function of the row, or an error, which the server tells."},
		{ReasonGrouping, "read", "Columns that are not grouped depend on the primary key of one table: natively the server takes them, of a union it does not."},
		{ReasonReadsItself, "read", "An UPDATE or DELETE that reads the table it changes: its second half would see what the first has done."},
		{ReasonSetsRouting, "read", "The UPDATE sets the routing column, and so rows would have to move."},
		{ReasonCurrentOf, "read", "WHERE CURRENT OF belongs to a cursor over one table."},
		{ReasonAuxColumn, "read", "An UPDATE or DELETE where the auxiliary table names its routing column otherwise."},
		{ReasonUnion, "read", "Main and auxiliary table are read together."},
		{ReasonPinned, "read", "Constants or parameters pin the routing column: only that of the two tables is looked at which has these groups."},
		{ReasonBothTables, "read", "The UPDATE or DELETE runs on both tables, as one statement's worth."},
	}
}
