package pgerr

import (
	"errors"
	"fmt"
	"testing"
)

func TestParseRoundTrip(t *testing.T) {
	t.Parallel()
	e := New(QueryCanceled, "canceling %s", "x").With('D', "detail")
	got := Parse(e.AppendBody(nil))
	if got.Code() != QueryCanceled || got.Get('M') != "canceling x" || got.Get('D') != "detail" || got.IsFatal() {
		t.Fatalf("%+v", got)
	}
	if c := got.With('D', ""); c.Get('D') != "" || got.Get('D') == "" {
		t.Fatal("With must remove in a copy only")
	}
	if As(fmt.Errorf("load: %w", got)) != got || As(errors.New("x")) != nil {
		t.Fatal("As")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("SERROR\x00C22P02\x00\x00"))
	f.Add([]byte("M"))
	f.Fuzz(func(t *testing.T, p []byte) {
		e := Parse(p)
		_ = e.Class() + e.Error()
		if again := Parse(e.AppendBody(nil)); len(again.Fields) != len(e.Fields) {
			t.Fatalf("%q: %d fields, then %d", p, len(e.Fields), len(again.Fields))
		}
	})
}
