package proxy

import (
	"strings"
	"testing"
)

// TestCombined: options of ours together. A repeated label does nothing, not even
// empty the table; what does more than append is answered when it is loaded.
func TestCombined(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, createT)
	for _, step := range []struct{ set, options, data, tag, rows string }{
		{"", "LABEL 'a', MODE overwrite", "1\ta\n2\tb\n", "COPY 2", "1a 2b"},
		{"", "LABEL 'a', MODE overwrite", "3\tc\n", "COPY 2", "1a 2b"},
		{"", "LABEL 'b', ON_CONFLICT update", "2\tB\n3\tc\n", "COPY 2", "1a 2B 3c"},
		{"", "LABEL 'b', ON_CONFLICT update", "2\tno\n", "COPY 2", "1a 2B 3c"},
		{"SET pgbulk.max_error_records = 5", "LABEL 'c'", "3\tagain\nx\ty\n4\td\n", "COPY 1", "1a 2B 3c 4d"},
		{"SET pgbulk.max_error_records = 5", "LABEL 'c'", "5\te\n", "COPY 1", "1a 2B 3c 4d"},
		{setStaged, "ON_CONFLICT nothing", "4\tno\n5\te\n", "COPY 1", "1a 2B 3c 4d 5e"},
		{setStaged, "LABEL 'd', MODE overwrite", "6\tf\n", "COPY 1", "6f"},
		{setStaged, "LABEL 'd', MODE overwrite", "7\tg\n", "COPY 1", "6f"},
		{setStaged, "MODE upsert", "6\tF\n", "COPY 1", "6F"},
	} {
		must(t, c, "RESET ALL; "+step.set)
		if o := copyIn(c, "COPY t FROM STDIN ("+step.options+")", strings.NewReader(step.data)); o.tag != step.tag {
			t.Errorf("%s; %s: %s, want %s", step.set, step.options, o, step.tag)
		}
		if got := must(t, c, "SELECT string_agg(id || note, ' ' ORDER BY id) FROM t"); got != step.rows {
			t.Errorf("%s; %s: rows %q, want %q", step.set, step.options, got, step.rows)
		}
	}
	if got := must(t, b.direct(), "SELECT string_agg(format('%s %s %s', line, sqlstate, column_name), ', ' ORDER BY line) FROM relyt_sys.relyt_loader_rejects"); got != "1 23505 , 2 22P02 id" {
		t.Errorf("rejects: %s", got)
	}
	if got := must(t, b.direct(), "SELECT max(error_records) FROM relyt_sys.relyt_loader_checkpoint"); got != "2" {
		t.Errorf("%s error records in the ledger", got)
	}
	b.wantLedger(map[string]int{"COMPLETED": 6, "CANCELLED": 4})
	b.wantSwept()
}
