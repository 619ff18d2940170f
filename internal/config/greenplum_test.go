package config

import (
	"fmt"
	"testing"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	got, err := Greenplum{Segments: "10.1.2.3/16, 192.168.0.7 ,fd00::/8"}.Networks()
	if want := "[10.1.0.0/16 192.168.0.7/32 fd00::/8]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := (Greenplum{}).Networks(); err != nil || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestEngineWithoutService: only an engine that needs a service connection gives
// way to plain where there is none.
func TestEngineWithoutService(t *testing.T) {
	t.Parallel()
	for engine, want := range map[string]string{EnginePostgres: EnginePlain, "greenplum": "greenplum", EnginePlain: EnginePlain} {
		if got := (Config{Engine: engine}).EngineName(); got != want {
			t.Errorf("%s: got %s, want %s", engine, got, want)
		}
		if got := (Config{Engine: engine, ServiceDSN: "host=h"}).EngineName(); got != engine {
			t.Errorf("%s with a service connection: got %s", engine, got)
		}
	}
}
