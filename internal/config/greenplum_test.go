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
