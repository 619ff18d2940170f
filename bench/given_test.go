package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestGivenCopyWays: each way is there once, direct text first, and S3 is read in as
// many files as the way says.
func TestGivenCopyWays(t *testing.T) {
	t.Parallel()
	data := &dataset{sizes: map[string]int64{"text": 64 << 20}}
	for engine, want := range map[string]string{
		"greenplum": "direct;default;copy;direct binary;default binary;gpfdist;s3, 1 files;s3, 2 files;s3, 8 files;s3, 64 files",
		"citus":     "direct;default;copy;direct binary;default binary;external",
	} {
		ways, err := (&given{engine: engine}).copyWays(data)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, w := range ways {
			names = append(names, w.name)
			if w.name == "s3, 8 files" && w.settings[2] != "stage.file_bytes=8392704" {
				t.Errorf("settings %v", w.settings)
			}
		}
		if got := strings.Join(names, ";"); got != want {
			t.Errorf("%s: %s", engine, got)
		}
	}
}

// TestGivenNeedsDSN: without a server these scenarios are left out, not failed.
func TestGivenNeedsDSN(t *testing.T) {
	t.Parallel()
	for _, s := range givenScenarios() {
		var skipped skipError
		if _, err := s.run(context.Background(), &lab{}); !errors.As(err, &skipped) {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// TestCrossoverWays: each engine is measured by the ways that it has, and no run is
// over before it can be measured.
func TestCrossoverWays(t *testing.T) {
	t.Parallel()
	for engine, want := range map[string]string{
		"greenplum": "direct;pass;stream;s3;gpfdist", "plain": "direct;pass;stream", "postgres": "direct;pass;stream;stage",
	} {
		ways, err := (&given{engine: engine}).crossoverWays()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, w := range ways {
			names = append(names, w.name)
		}
		if got := strings.Join(names, ";"); got != want {
			t.Errorf("%s: %s", engine, got)
		}
	}
	for _, rows := range copySizes {
		if n := copiesOf(rows); n < 1 || n*rows < 100 {
			t.Errorf("%d COPYs of %d rows", n, rows)
		}
	}
}
