package values

import (
	"bytes"
	"testing"
)

// TestBinaryRowsHostile: a Bind that is not as it should be is refused, whatever
// is wrong with it.
func TestBinaryRowsHostile(t *testing.T) {
	t.Parallel()
	columns := []Column{{Base: oidInt4, Typmod: -1}, {Base: oidText, Typmod: -1}}
	null, four := "\xff\xff\xff\xff", "\x00\x00\x00\x04abcd"
	for name, c := range map[string]struct {
		formats, params string
		count           int
		want            string
	}{
		"plain":              {"\x00\x01\x00\x00", four + four, 2, "\x00\x02" + four + four},
		"two rows":           {"\x00\x01", four + null + null + four, 4, "\x00\x02" + four + null + "\x00\x02" + null + four},
		"formats repeat":     {"\x00\x01\x00\x00\x00\x01\x00\x00", four + null + four + null, 4, "\x00\x02" + four + null + "\x00\x02" + four + null},
		"text made binary":   {"", "\x00\x00\x00\x02-2" + null, 2, "\x00\x02\x00\x00\x00\x04\xff\xff\xff\xfe" + null},
		"formats differ":     {"\x00\x01\x00\x00\x00\x00\x00\x00", four + null + four + null, 4, ""},
		"unknown format":     {"\x00\x02", four + four, 2, ""},
		"too few formats":    {"\x00\x01\x00\x00\x00\x01", four + null + four + null, 4, ""},
		"half a row":         {"\x00\x01", four + four + four, 3, ""},
		"text has no form":   {"", "\x00\x00\x00\x02+2" + null, 2, ""},
		"no length":          {"\x00\x01", four + "\x00\x00", 2, ""},
		"length beyond":      {"\x00\x01", four + "\x00\x00\x00\x05abcd", 2, ""},
		"length of minus 2":  {"\x00\x01", four + "\xff\xff\xff\xfe", 2, ""},
		"length of the most": {"\x00\x01", four + "\x7f\xff\xff\xff", 2, ""},
	} {
		rows, ok := NewBinaryRows(columns, nil)
		if !ok {
			t.Fatal("int4 and text")
		}
		var out []byte
		if ok = rows.Bind([]byte(c.formats), []byte(c.params), c.count); ok {
			for ok && rows.Left() > 0 {
				out, ok = rows.AppendRow(out)
			}
		}
		if ok != (c.want != "") || ok && !bytes.Equal(out, []byte(c.want)) {
			t.Errorf("%s: %v %x, want %x", name, ok, out, c.want)
		}
	}
}

// TestBinaryRowsTypes: types that differ from row to row, or from the column's,
// are not taken.
func TestBinaryRowsTypes(t *testing.T) {
	t.Parallel()
	columns := []Column{{Base: oidInt4, Typmod: -1}, {Base: oidVarchar, Typmod: 9}}
	for _, c := range []struct {
		oids []uint32
		ok   bool
	}{
		{nil, true}, {[]uint32{oidInt4}, true}, {[]uint32{0, oidText}, true}, {[]uint32{oidInt4, 0, oidInt4, 0}, true},
		{[]uint32{oidInt8}, false}, {[]uint32{0, oidBPChar}, false}, {[]uint32{0, 0, oidInt4}, false}, {[]uint32{oidInt4, oidText, oidInt4}, false},
	} {
		if _, ok := NewBinaryRows(columns, c.oids); ok != c.ok {
			t.Errorf("%v: %v", c.oids, ok)
		}
	}
}
