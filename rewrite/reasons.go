package rewrite

import "slices"

// The reasons for which a statement is relayed, refused, or takes a method.
// They are metrics labels: fixed words, never anything of the client's.
const (
	ReasonNone Reason = ""

	// Reasons of ParseCopy.

	ReasonTooLong           Reason = "too_long"
	ReasonParseError        Reason = "parse_error"
	ReasonMultiStatement    Reason = "multi_statement"
	ReasonNotCopyFromStdin  Reason = "not_copy_from_stdin"
	ReasonCopyTo            Reason = "copy_to"
	ReasonCopyQuery         Reason = "copy_query"
	ReasonCopyProgram       Reason = "copy_program"
	ReasonCopyFile          Reason = "copy_file"
	ReasonQualifiedDatabase Reason = "qualified_database"
	ReasonLongName          Reason = "long_name"
	ReasonParameters        Reason = "parameters"
	ReasonWhereTooLong      Reason = "where_too_long"
	ReasonUnknownOption     Reason = "unknown_option"
	ReasonDuplicateOption   Reason = "duplicate_option"
	ReasonBadOption         Reason = "bad_option"
	ReasonOIDs              Reason = "oids"
	ReasonUnsupportedOption Reason = "unsupported_option"

	// Further reasons of ParseInsert.

	ReasonNotInsert      Reason = "not_insert"
	ReasonWith           Reason = "with"
	ReasonInsertSelect   Reason = "insert_select"
	ReasonDefaultValues  Reason = "default_values"
	ReasonExpression     Reason = "expression"
	ReasonStringForm     Reason = "string_form"
	ReasonEscape         Reason = "escape"
	ReasonNumberForm     Reason = "number_form"
	ReasonRowLength      Reason = "row_length"
	ReasonIndirection    Reason = "indirection"
	ReasonTailParameters Reason = "tail_parameters"
	ReasonTailTooLong    Reason = "tail_too_long"

	// Reasons of Classify to pass or refuse.

	ReasonModeOff              Reason = "mode_off"
	ReasonUnknownMode          Reason = "unknown_mode"
	ReasonBadExtension         Reason = "bad_extension"
	ReasonUnsupportedExtension Reason = "unsupported_extension"
	ReasonNoTable              Reason = "no_table"
	ReasonNotATable            Reason = "not_a_table"
	ReasonSystemTable          Reason = "system_table"
	ReasonBadColumn            Reason = "bad_column"
	ReasonNoPrivilege          Reason = "no_privilege"
	ReasonColumnPrivileges     Reason = "column_privileges"
	ReasonRowSecurity          Reason = "row_security"
	ReasonReadOnly             Reason = "read_only"
	ReasonOldSnapshot          Reason = "old_snapshot"
	ReasonFreeze               Reason = "freeze"
	ReasonWhere                Reason = "where"
	ReasonForeignPartition     Reason = "foreign_partition"
	ReasonClientEncoding       Reason = "client_encoding"
	ReasonCopyEncoding         Reason = "copy_encoding"
	ReasonNameEncoding         Reason = "name_encoding"
	ReasonStringSyntax         Reason = "string_syntax"
	ReasonOptionVersion        Reason = "option_version"
	ReasonErrorsBinary         Reason = "errors_binary"
	ReasonErrorsWith           Reason = "errors_with"
	ReasonStatementTriggers    Reason = "statement_triggers"
	ReasonErrorsRouted         Reason = "errors_routed"
	ReasonOldServer            Reason = "old_server"

	// Reasons of ClassifyInsert.

	ReasonIdentityAlways Reason = "identity_always"
	ReasonOverridingUser Reason = "overriding_user"
	ReasonDefaultCell    Reason = "default_cell"
	ReasonNoArrays       Reason = "no_arrays"
	ReasonCast           Reason = "insert_cast"
	ReasonConstant       Reason = "insert_constant"
	ReasonColumnType     Reason = "insert_column_type"
	ReasonNumber         Reason = "insert_number"
	ReasonNUL            Reason = "insert_nul"
	ReasonParamType      Reason = "insert_param_type"
	ReasonParameter      Reason = "insert_parameter"
	ReasonRows           Reason = "rows"
	ReasonArrays         Reason = "arrays"
	ReasonCoalesced      Reason = "coalesced"
	ReasonSelfReference  Reason = "self_reference"
	ReasonShardedClause  Reason = "sharded_clause"
	ReasonShardedMethod  Reason = "sharded_method"
	ReasonShardedText    Reason = "sharded_text"

	// Reasons of the session, which the wire layer finds.

	ReasonFailedTransaction Reason = "failed_transaction"
	ReasonInPipeline        Reason = "in_pipeline"
	ReasonPortal            Reason = "portal"
	ReasonInspectFailed     Reason = "inspect_failed"
	ReasonSmall             Reason = "small"
	ReasonUsual             Reason = "small_before"
	ReasonMemory            Reason = "memory"
	ReasonLimit             Reason = "limit"
	ReasonBatchConflict     Reason = "batch_conflict"
	ReasonBatchReturning    Reason = "batch_returning"
	ReasonRowLimit          Reason = "row_limit"
	ReasonNativeReplay      Reason = "native_replay"
	ReasonRouted            Reason = "routed"
	ReasonRoutedClause      Reason = "routed_clause"
	ReasonRoutedOrder       Reason = "routed_order"
	ReasonRoutedText        Reason = "routed_text"
	ReasonOtherDefault      Reason = "other_default"

	// Reasons of the moment, which the loader and the service connections find.

	ReasonStoreBreaker    Reason = "store_breaker"
	ReasonExternalBreaker Reason = "external_breaker"
	ReasonNoServiceDSN    Reason = "no_service_dsn"
	ReasonServiceFailed   Reason = "service_failed"

	// Reasons why a load that began by external table went on natively.

	ReasonFallbackStore     Reason = "store"
	ReasonFallbackEngine    Reason = "engine"
	ReasonFallbackCount     Reason = "count"
	ReasonFallbackCancel    Reason = "cancel"
	ReasonFallbackTranscode Reason = "transcode"
	ReasonIrregular         Reason = "irregular"

	// Reasons of Classify for a method.

	ReasonExternal      Reason = "external"
	ReasonPull          Reason = "pull"
	ReasonNoStore       Reason = "no_store"
	ReasonEnginePlain   Reason = "engine_plain"
	ReasonNotInstalled  Reason = "not_installed"
	ReasonFormat        Reason = "format"
	ReasonUnordered     Reason = "unordered"
	ReasonLoadMethod    Reason = "load_method"
	ReasonShardedBlock  Reason = "sharded_block"
	ReasonSlowFormat    Reason = "slow_format"
	ReasonDefaultOption Reason = "default_option"
	ReasonOnError       Reason = "on_error"
	ReasonErrors        Reason = "errors"
	ReasonForceAll      Reason = "force_all"
	ReasonHeaderMatch   Reason = "header_match"
	ReasonHeaderLines   Reason = "header_lines"
	ReasonNoColumns     Reason = "no_columns"
	ReasonTriggers      Reason = "triggers"
	ReasonForeignKeys   Reason = "foreign_keys"
	ReasonDeferrable    Reason = "deferrable"
	ReasonExclusion     Reason = "exclusion"
	ReasonRules         Reason = "rules"
	ReasonEventTriggers Reason = "event_triggers"
	ReasonConflictKey   Reason = "conflict_key"
	ReasonUpsert        Reason = "upsert"
)

// ReasonInfo is one row of the table of reasons.
type ReasonInfo struct {
	Reason Reason
	// Group is the name of one of ReasonGroups.
	Group string
	// Meaning is one line for the documentation.
	Meaning string
}

// Reasons returns every reason with its meaning, in the order in which the
// checks are made.
func Reasons() []ReasonInfo {
	return slices.Concat(parseReasons(), classifyReasons(), sessionReasons(), methodReasons(), momentReasons(), fallbackReasons(), readReasons())
}

func parseReasons() []ReasonInfo {
	return []ReasonInfo{
		{ReasonTooLong, "parse", "The statement is longer than the parser is given."},
		{ReasonParseError, "parse", "PostgreSQL 16's grammar does not know this text: a syntax error, or newer syntax."},
		{ReasonMultiStatement, "parse", "The query holds several statements."},
		{ReasonNotCopyFromStdin, "parse", "The statement is not a COPY."},
		{ReasonCopyTo, "parse", "COPY … TO reads."},
		{ReasonCopyQuery, "parse", "COPY (query) reads."},
		{ReasonCopyProgram, "parse", "COPY … FROM PROGRAM: the server gets the data itself."},
		{ReasonCopyFile, "parse", "COPY … FROM 'file': the server reads the file itself."},
		{ReasonQualifiedDatabase, "parse", "The table's name names the database too."},
		{ReasonLongName, "parse", "A name is longer than 63 bytes: the server truncates it, with a notice."},
		{ReasonParameters, "parse", "The statement has $n parameters: in a COPY; in an INSERT by the simple protocol; or one of them stands in two places."},
		{ReasonWhereTooLong, "parse", "The WHERE clause has more tokens than the parser is given."},
		{ReasonUnknownOption, "parse", "An option that COPY does not have, or not yet."},
		{ReasonDuplicateOption, "parse", "An option is given twice; the server says so."},
		{ReasonBadOption, "parse", "An option's value, or two options together, which the server refuses."},
		{ReasonOIDs, "parse", "OIDS: gone since PostgreSQL 12."},
		{ReasonUnsupportedOption, "parse", "An option of pgbulkproxy's own that is not implemented: refused with 0A000."},
		{ReasonNotInsert, "parse", "The statement is not an INSERT."},
		{ReasonWith, "parse", "WITH: what it holds is not looked at."},
		{ReasonInsertSelect, "parse", "INSERT … SELECT, TABLE, or VALUES with more clauses; only SQLAlchemy's form with sen_counter is taken."},
		{ReasonDefaultValues, "parse", "INSERT … DEFAULT VALUES."},
		{ReasonExpression, "parse", "A value is not a constant, or a cast of one to a plainly named type."},
		{ReasonStringForm, "parse", "A value is B'…', X'…', N'…' or U&'…'."},
		{ReasonEscape, "parse", "An escape in E'…' is invalid, or depends on the server's version, backslash_quote or the encodings."},
		{ReasonNumberForm, "parse", "A number such as 0x1F, 1_000 or 123abc, which servers of different versions read differently."},
		{ReasonRowLength, "parse", "The rows have different lengths, or another one than the list of columns; the server says so."},
		{ReasonIndirection, "parse", "A column of the list has a field or subscript behind it."},
		{ReasonTailParameters, "parse", "ON CONFLICT or RETURNING has $n parameters."},
		{ReasonTailTooLong, "parse", "ON CONFLICT and RETURNING have more tokens than the parser is given."},
	}
}

func classifyReasons() []ReasonInfo {
	return []ReasonInfo{
		{ReasonModeOff, "classify", "pgbulk.mode is off, or the proxy only relays."},
		{ReasonUnknownMode, "classify", "pgbulk.mode has a value that is not auto, off or force."},
		{ReasonBadExtension, "classify", "An option or setting of pgbulkproxy's own has a value it does not have, or contradicts another: refused with 22023."},
		{ReasonUnsupportedExtension, "classify", "An option or setting of pgbulkproxy's own asks for what is not implemented: refused with 0A000."},
		{ReasonNoTable, "classify", "The table does not exist, or its schema is closed to the role."},
		{ReasonNotATable, "classify", "A view, foreign table, sequence or index; not a table."},
		{ReasonSystemTable, "classify", "A system catalog."},
		{ReasonBadColumn, "classify", "A column that the statement names is not there, is generated, or is named twice."},
		{ReasonNoPrivilege, "classify", "The role may not insert into the table."},
		{ReasonColumnPrivileges, "classify", "The role may insert into some columns only."},
		{ReasonRowSecurity, "classify", "Row security applies to the role: COPY FROM refuses that."},
		{ReasonReadOnly, "classify", "The transaction is read-only."},
		{ReasonOldSnapshot, "classify", "Inside a REPEATABLE READ or SERIALIZABLE transaction block the catalogs are seen as of its first query, COPY sees them as of now."},
		{ReasonFreeze, "classify", "FREEZE depends on the subtransaction that made the table."},
		{ReasonWhere, "classify", "WHERE: the server reports what is wrong with it before it asks for data."},
		{ReasonForeignPartition, "classify", "A partition is a foreign table."},
		{ReasonClientEncoding, "classify", "client_encoding has characters whose second byte looks like ASCII."},
		{ReasonCopyEncoding, "classify", "ENCODING is unknown, cannot be converted, or has characters whose second byte looks like ASCII."},
		{ReasonNameEncoding, "classify", "A name or the statement is not ASCII, and the session is not UTF-8 on both sides."},
		{ReasonStringSyntax, "classify", "standard_conforming_strings is off and the statement has backslashes or U& strings."},
		{ReasonOptionVersion, "classify", "The server is older than an option; it says so."},
		{ReasonErrorsBinary, "classify", "Bad rows are to be skipped, and the data is binary: refused with 0A000."},
		{ReasonErrorsWith, "classify", "Bad rows are to be skipped together with ON_CONFLICT or another MODE than append: refused with 0A000."},
		{ReasonStatementTriggers, "classify", "Bad rows are to be skipped, and a trigger would see the several COPYs that this takes: one for each statement, or one with a transition table. Refused with 0A000."},
		{ReasonErrorsRouted, "classify", "Bad rows are to be skipped, and some rows of the table belong to its auxiliary table: refused with 0A000."},
		{ReasonOldServer, "classify", "The server is of before PostgreSQL 10, as Greenplum 6 is, or a routed table is append-optimised, on a later Greenplum. Such a server has no ON CONFLICT and no alias in an INSERT, and words of its own that can be no names; RETURNING and functions of a user's, which need the rows as arrays, are left to it."},

		{ReasonIdentityAlways, "classify", "A GENERATED ALWAYS column without OVERRIDING: the server refuses it in an INSERT, and takes it in a COPY."},
		{ReasonOverridingUser, "classify", "OVERRIDING USER VALUE: the values of identity columns are ignored."},
		{ReasonDefaultCell, "classify", "A value is the word DEFAULT."},
		{ReasonNoArrays, "classify", "ON CONFLICT, RETURNING or functions of a user's need the rows as arrays, and a column is an array or composite itself, or of another type without exact arrays, or array_nulls is off."},
		{ReasonCast, "classify", "A value has a cast to another type than its column's."},
		{ReasonConstant, "classify", "A number or boolean that the column's type does not take, or not by a known rule."},
		{ReasonColumnType, "classify", "What the column's type makes of a string depends on the way it comes."},
		{ReasonNumber, "classify", "A number has too many digits."},
		{ReasonNUL, "classify", "A value has a NUL byte."},
		{ReasonParamType, "classify", "A parameter's type is not its column's, or its binary form is not known."},
		{ReasonParameter, "classify", "The parameters of a Bind are not as the statement needs them, or one stands in a subquery without a type."},

		{ReasonShardedClause, "classify", "The table is one of Citus', and the statement has ON CONFLICT or RETURNING, or runs functions of a user's. It would go as INSERT … SELECT, of which Citus counts the rows that were selected, whatever ON CONFLICT did, and returns rows in any order; nor would it be faster."},
		{ReasonShardedMethod, "classify", "The table is distributed by Citus in a way of old versions (append, range); or it is not distributed by a column (a reference table), and the statement has MODE merge: Citus can't delete there by a temporary table."},
		{ReasonShardedText, "classify", "The table is one of Citus', which sends the constants of an INSERT to the workers as text, to be read in their own styles; COPY sends values. So where DateStyle is not ISO, IntervalStyle is not postgres, extra_float_digits is below 1, or a column holds names of objects (regclass and its like), the two may store different values."},
		{ReasonSelfReference, "classify", "A foreign key of the table points to the table itself. A batch passes: natively each row finds those before it alone. Where bad rows are to be skipped it is refused with 0A000: whether a row is bad would depend on those behind it."},
	}
}

func sessionReasons() []ReasonInfo {
	return []ReasonInfo{
		{ReasonFailedTransaction, "session", "The transaction has failed: the server answers 25P02."},
		{ReasonInPipeline, "session", "Other statements of the same pipeline are not answered yet."},
		{ReasonPortal, "session", "A COPY whose Bind names a portal or has parameters, or is not followed by its Execute at once."},
		{ReasonInspectFailed, "session", "Locking the table, or the catalog query, failed: no such table or no right to it, mostly. The statement itself then says why."},
		{ReasonSmall, "session", "The data ended before stage.min_bytes, or an INSERT has fewer rows than insert.min_rows."},
		{ReasonUsual, "session", "The COPYs before it with the same text, in this session, were small: it is relayed without an inspection. If it is large all the same, the next one is inspected."},
		{ReasonBatchConflict, "session", "Each Execute of a batch with ON CONFLICT has a tag of its own, which one statement in place of all does not tell."},
		{ReasonRowLimit, "session", "An Execute asks for some of the rows of RETURNING."},
		{ReasonBatchReturning, "session", "Each Execute of a batch has rows of RETURNING."},
		{ReasonMemory, "session", "The memory budget has no room for the statement."},
		{ReasonLimit, "session", "As many loads run as limits.loads, limits.role_loads or limits.database_loads allow."},
		{ReasonNativeReplay, "session", "The rewritten INSERT failed and was undone; the client's own ran in its place."},
		{ReasonRouted, "session", "The table has an auxiliary one: each row goes where the routes say, those of a COPY by a temporary table. Such INSERTs are not coalesced."},
		{ReasonRoutedClause, "session", "Some rows of the INSERT go to the auxiliary table, where ON CONFLICT or RETURNING cannot be meant as they are written, or where its constraint is missing: refused with 0A000."},
		{ReasonRoutedOrder, "session", "The rows of the INSERT go to both tables in so many turns that the order of the rows of RETURNING cannot be kept: refused with 0A000."},
		{ReasonOtherDefault, "session", "An INSERT by the extended protocol leaves a column to its default, which is another one in the auxiliary table, and has rows for that. Refused with 0A000; by the simple protocol they take the main table's default."},
		{ReasonRoutedText, "session", "The text puts rows into a routed table in a form that is not understood: several statements in an order that a transaction block would show, an INSERT inside of WITH, EXPLAIN ANALYZE, MERGE or PREPARE, an EXECUTE of one that was prepared before. Refused with 0A000, unless the server has something against it itself."},
	}
}

func methodReasons() []ReasonInfo {
	return []ReasonInfo{
		{ReasonExternal, "method", "Every condition for reading the files by an external table holds."},
		{ReasonPull, "method", "The segments pull the rows from the proxy while they come: greenplum.reader is gpfdist."},
		{ReasonNoStore, "method", "The rows go by COPY on the session, and nobody would read them in S3: the database has no ledger, and sweep.keep is never. So the COPY is relayed, unless its rows may go as COPY binary (load.transcode)."},
		{ReasonEnginePlain, "method", "The engine does not read S3 itself, or only where load.method = external asks for it."},
		{ReasonNotInstalled, "method", "Schema pgbulk is not installed in this database, or closed to the role: a COPY is relayed, as with no_store."},
		{ReasonFormat, "method", "The engine's external tables do not read this format exactly."},
		{ReasonUnordered, "method", "A column is left to its default, which may be a sequence's next number, and this engine's external tables give the rows in another order than the data's."},
		{ReasonShardedBlock, "method", "The table is one of Citus', and the load is not one that is staged first, outside a transaction block: after an INSERT … SELECT that failed in the middle of its data, going back to a savepoint does not always save the transaction there, so that the native replay would fail."},
		{ReasonLoadMethod, "method", "The setting load.method is copy."},
		{ReasonSlowFormat, "method", "On this engine COPY is faster than external tables."},
		{ReasonDefaultOption, "method", "The DEFAULT marker is understood by COPY."},
		{ReasonOnError, "method", "ON_ERROR, REJECT_LIMIT and LOG_VERBOSITY are COPY's: it counts and tells the skipped rows."},
		{ReasonErrors, "method", "Bad rows are to be skipped: the files go through COPYs behind savepoints."},
		{ReasonForceAll, "method", "FORCE_NULL * and FORCE_NOT_NULL * are understood by COPY."},
		{ReasonHeaderMatch, "method", "HEADER MATCH is compared by COPY."},
		{ReasonHeaderLines, "method", "HEADER with a number of lines is understood by COPY."},
		{ReasonNoColumns, "method", "The table has no columns to load."},
		{ReasonTriggers, "method", "Triggers see one statement, not one per file."},
		{ReasonForeignKeys, "method", "Foreign keys are checked at the end of one statement, not of each file."},
		{ReasonDeferrable, "method", "A deferrable constraint is checked at the end of one statement, not of each file."},
		{ReasonExclusion, "method", "An exclusion constraint."},
		{ReasonRules, "method", "COPY ignores INSERT rules, INSERT would obey them."},
		{ReasonEventTriggers, "method", "Event triggers would see the external table being made."},
		{ReasonConflictKey, "method", "ON_CONFLICT without CONFLICT_TARGET, or MODE upsert or merge, and the table has no such key: refused with 42P10."},
		{ReasonUpsert, "method", "ON_CONFLICT, MODE upsert or merge: the rows go through COPY into a temporary table, and from there by one INSERT … ON CONFLICT into the table."},
		{ReasonRows, "method", "An INSERT without ON CONFLICT and RETURNING: its rows go through COPY."},
		{ReasonCoalesced, "method", "With pgbulk.coalesce = transaction: consecutive INSERTs of one shape, whose rows go through one COPY."},
		{ReasonArrays, "method", "An INSERT with ON CONFLICT or RETURNING, or into a table with functions of a user's: its rows go as arrays through unnest."},
	}
}

func momentReasons() []ReasonInfo {
	return []ReasonInfo{
		{ReasonStoreBreaker, "moment", "The store failed several times in a row, and is left alone for a while."},
		{ReasonNoServiceDSN, "moment", "service_dsn is not set, and external tables need it."},
		{ReasonServiceFailed, "moment", "The service connection to this database failed; it is tried again after a while."},
		{ReasonExternalBreaker, "moment", "External tables failed several times in a row in this database, and are left alone for a while."},
	}
}

func fallbackReasons() []ReasonInfo {
	return []ReasonInfo{
		{ReasonFallbackStore, "fallback", "A file could not be staged."},
		{ReasonFallbackEngine, "fallback", "The external table raised an error: of the engine, or of the data, which COPY then reports in its own words."},
		{ReasonFallbackCount, "fallback", "The external table gave another number of rows than were staged."},
		{ReasonFallbackCancel, "fallback", "A cancel request came; the COPY meets it."},
		{ReasonFallbackTranscode, "fallback", "Two files in a row could not go as COPY binary: values are written in a way that is not known to be the same, or the server refused them."},
		{ReasonIrregular, "fallback", "Only the server can tell where the rows of this data end."},
	}
}
