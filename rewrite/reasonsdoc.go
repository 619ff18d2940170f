package rewrite

import "strings"

// ReasonGroup is one heading of the documentation.
type ReasonGroup struct {
	Name string
	// Meaning says what the reasons of the group decide, and where they show.
	Meaning string
}

// ReasonGroups returns the groups in the order of the documentation.
func ReasonGroups() []ReasonGroup {
	return []ReasonGroup{
		{"parse", "The text alone decides. The statement passes, or is refused where that is said."},
		{"classify", "Table, role, transaction or settings decide. The statement passes, or is refused where that is said."},
		{"session", "What the session is doing decides. The statement passes; `small` is one that was held and then sent as it is."},
		{"method", "How the rows get into the table: `rows` and `arrays` for an INSERT that is streamed; for a COPY that is staged `external` by external table, all others by one COPY on the session, or, where that leaves no trace in a ledger, by the client's own. An INSERT into a table with `triggers` or `rules` passes."},
		{"moment", "What the proxy has met lately decides. With `store_breaker` the statement passes, and with `no_service_dsn` and `service_failed` a COPY that would go by COPY on the session: there is no ledger. Else it is staged and loaded by one COPY on the session."},
		{"fallback", "Why a load that began by external table went on as a native COPY: label of `pgbulk_fallbacks_total`."},
		{"read", "With `routing.reads = on`, statements that read or change a routed table, kind `read`: `union`, `pinned` and `both_tables` see both tables, with decision `stream`; with every other reason the statement passes, and sees the main table alone."},
	}
}

// ReasonsMarkdown returns docs/reasons.md. A test holds the file up to date.
func ReasonsMarkdown() string {
	var b strings.Builder
	b.WriteString(reasonsHead)
	for _, g := range ReasonGroups() {
		b.WriteString("\n## " + g.Name + "\n\n" + g.Meaning + "\n\n| reason | meaning |\n|---|---|\n")
		for _, r := range Reasons() {
			if r.Group == g.Name {
				b.WriteString("| `" + string(r.Reason) + "` | " + strings.ReplaceAll(r.Meaning, "|", `\|`) + " |\n")
			}
		}
	}
	return b.String()
}

const reasonsHead = `# Reasons

<!-- Written by: go test ./rewrite -run TestReasonsDocument -update -->

Every bulk statement that the proxy sees is counted with a decision and a
reason, in ` + "`pgbulk_statements_total{kind,decision,reason}`" + `. The debug log and
` + "`pgbulkproxy explain`" + ` show the same words. The decision is ` + "`pass`" + ` (relayed
untouched), ` + "`stream`" + ` (sent on in another form), ` + "`stage`" + `, or ` + "`refuse`" + ` (SQLSTATE
0A000, 22023 or 42P10). Within a group the first
reason that applies is the one that is shown.
`
