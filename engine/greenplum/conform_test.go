package greenplum

import (
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
)

// TestConforms says of each part of the suite for plans why it is not of the kind that
// this engine's are, and where the same is tried. The suite for whole proxies runs on
// a cluster by each reader (internal/proxy, TestEngineGreenplum).
func TestConforms(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Config{Engine: New(), Except: map[string]string{
		"values":       "plans read groups of files under a prefix, not one file by its URL, and the suite's types are of later servers: TestReadsAsCopy, and TestDifferentialGreenplum by s3 and gpfdist",
		"targets":      "the suite's tables are of later servers (identity, generated columns, partitions): TestGreenplumKindsOfTables, and TestDifferentialGreenplum by s3 and gpfdist",
		"transactions": "the suite looks at import rows of the ledger, which is not there: TestPulledInTransaction, and the blocks of TestEngineGreenplum",
		"failures":     "the suite harms the URL of a file, and there is none: TestSilentLoss, TestSegmentsLoseRows, TestSegmentsFail",
		"many":         "the suite looks at import rows of the ledger, which is not there: TestSegmentsLoad, TestPulledByMany, TestSegmentKilled",
	}})
}
