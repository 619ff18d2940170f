package rows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// valueSeeds are rows of two columns.
var valueSeeds = []string{
	"a,b\nc,d\n", "a,b\r\nc,d\r\n", "a,b", "a,\\N\n\\N,b\n", ",\n", "a\\,b,c\n", "\\a\\b\\f\\n\\r\\t\\v\\\\,\\x41\\x4g\\xg\\101\\60\\8\\08\n",
	"a\\\nb,c\\\r\n", "a,\\351\n", "a,\\000\n", "a,\\x\n", "\\.\n", "a,b\n\\.\nc", "a,b\n\\.", "a,b\r\n\\.\r\nc", "a,b\\.\n", "a\n", "a,b,c\n", "a,b\rc,d\r",
	"\"a,b\",\"c\"\"d\"\n", "\"\",\n", "\"a\nb\",c\n", "\"a\r\nb\",\"\\N\"\n", "x\"y,z\"w,v\n", "'it''s',b\n", "'a\\'b',c\n", "\"a\\\"b\",\"c\\\\\"\n", "\"a,b", "h,i\n\"a\",NULL\n", "NULL,\"NULL\"\n", ",NULL\n",
	"\"h\n\",i\nä,ö\n", "a\\b,c\n", "a,\"b\"c\n", "a,b\n\n", "\\\\.,b\n", "\"\\.\",b\n", "a,b\n\"\n\\.\n\",c\n",
}

// valueOptions makes the description of a column of a few numbers.
func valueOptions(format string, n uint64) Column {
	c := Column{Options: Options{Format: format, HeaderLines: int(n % 2), Columns: 2}, Delimiter: ',', At: int(n / 2 % 2)}
	n /= 4
	c.Null = []string{"", `\N`, "NULL", "a"}[n%4]
	n /= 4
	if format == "csv" {
		c.Quote = []byte{0, '"', '\''}[n%3]
		c.Escape = []byte{0, 0, '\\', '"'}[n/3%4]
	}
	return c
}

func (c *Column) all(data []byte) (values []*string, err error) {
	err = c.Values(data, func(v []byte) error {
		if v == nil {
			values = append(values, nil)
			return nil
		}
		s := string(v)
		values = append(values, &s)
		return nil
	})
	return values, err
}

func show(values []*string) (out []string) {
	for _, v := range values {
		if v == nil {
			out = append(out, "NULL")
			continue
		}
		out = append(out, fmt.Sprintf("%q", *v))
	}
	return out
}

// judgeValues compares what Values and the server read; cautious says that the
// server took what was left to it.
func (s *oracle) judgeValues(ctx context.Context, c Column, data []byte) (cautious bool, err error) {
	got, err := c.all(data)
	if err != nil && !errors.Is(err, ErrIrregular) {
		return false, err
	}
	sql := "COPY t (a, b) FROM STDIN (FORMAT " + c.Format
	if c.Format != "binary" {
		sql += fmt.Sprintf(", DELIMITER ',', NULL '%s', HEADER %t", c.Null, c.HeaderLines > 0)
	}
	if c.Format == "csv" {
		o := c.withDefaults()
		sql += fmt.Sprintf(`, QUOTE E'\x%02x', ESCAPE E'\x%02x'`, o.Quote, o.Escape)
	}
	tx, terr := s.conn.Begin(ctx)
	if terr != nil {
		return false, terr
	}
	defer tx.Rollback(ctx)
	if _, cerr := s.conn.PgConn().CopyFrom(ctx, bytes.NewReader(data), sql+")"); cerr != nil {
		var e *pgconn.PgError
		if !errors.As(cerr, &e) || e.Code[:2] == "42" {
			return false, cerr
		}
		return false, nil
	}
	if err != nil {
		return true, nil
	}
	value := []string{"a", "b"}[c.At]
	if c.Format == "binary" {
		value = "encode(" + value + ", 'hex')"
		for _, v := range got {
			if v != nil {
				*v = fmt.Sprintf("%x", *v)
			}
		}
	}
	found, terr := tx.Query(ctx, "SELECT "+value+" FROM t ORDER BY n")
	if terr != nil {
		return false, terr
	}
	want, terr := pgx.CollectRows(found, pgx.RowTo[*string])
	if terr != nil {
		return false, terr
	}
	if !slices.Equal(show(got), show(want)) {
		return false, fmt.Errorf("read %s, server %s", show(got), show(want))
	}
	return false, nil
}

// TestServerValues: of data that Values reads, the server reads the same values,
// or none.
func TestServerValues(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "csv", "binary"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			kind := "text"
			if format == "binary" {
				kind = "bytea"
			}
			s := newOracle(t, kind, "a", "b")
			r := rand.New(rand.NewPCG(3, 7))
			pieces := []string{"a", "b", ",", ",", ",", "\n", "\n", "\\", "N", "\"", "'", "x", "4", "NULL", "é"}
			cautious, rounds := 0, 0
			try := func(n uint64, data []byte) {
				c := valueOptions(format, n)
				if format == "text" && !s.textHeader {
					c.HeaderLines = 0
				}
				if format == "binary" {
					c.HeaderLines = 0
				}
				careful, err := s.judgeValues(t.Context(), c, data)
				if err != nil {
					t.Fatalf("%+v, %q: %v", c, data, err)
				}
				rounds++
				if careful {
					cautious++
				}
			}
			if format == "binary" {
				for range 300 {
					try(r.Uint64(), randomBinary(r))
				}
				return
			}
			for _, seed := range valueSeeds {
				for n := range uint64(16 * 12) {
					try(n, []byte(seed))
				}
			}
			for range 3000 {
				data := randomLines(r, pieces, 1+r.IntN(20))
				try(r.Uint64(), data)
			}
			t.Logf("%d of %d left to the server that it takes", cautious, rounds)
			if cautious > rounds/5 {
				t.Errorf("%d of %d are left to the server, that it takes", cautious, rounds)
			}
		})
	}
}

// TestValuesRegular: ordinary data is never left to the server.
func TestValuesRegular(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		column Column
		data   string
		want   []string
	}{
		{Column{Options: Options{Format: "text"}, Delimiter: '\t', Null: `\N`, At: 1}, "1\ta\n2\t\\N\n3\t\n4\tx\\ty\n\\.\n", []string{`"a"`, "NULL", `""`, `"x\ty"`}},
		{Column{Options: Options{Format: "csv", HeaderLines: 1}, Delimiter: ',', At: 0}, "\"a\nb\",c\r\n1,2\r\n\"\",3\r\n,\"4\r\n\"\r\n\"5,\"\"\",\r\n", []string{`"1"`, `""`, "NULL", `"5,\""`}},
		{Column{Options: Options{Format: "binary", Columns: 2}, At: 1}, binaryHeader + "\x00\x02\xff\xff\xff\xff\x00\x00\x00\x01a\x00\x02\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff", []string{`"a"`, "NULL"}},
	} {
		got, err := c.column.all([]byte(c.data))
		if err != nil || !slices.Equal(show(got), c.want) {
			t.Errorf("%q: %s, %v, want %s", c.data, show(got), err, c.want)
		}
	}
}

// FuzzValues: no panic, and as many values as the scanner counts rows.
func FuzzValues(f *testing.F) {
	for i, s := range slices.Concat(valueSeeds, binarySeeds) {
		f.Add([]byte(s), byte(i%3), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, format byte, options uint64) {
		c := valueOptions([]string{"text", "csv", "binary"}[format%3], options)
		if c.Format == "binary" {
			c.HeaderLines = 0
		}
		values, err := c.all(data)
		if err != nil {
			return
		}
		s, err := New(c.Options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Scan(data); err != nil {
			t.Fatalf("%+v, %q: %d values of irregular data", c, data, len(values))
		}
		end, err := s.End()
		if err != nil || end.Rows != int64(len(values)) {
			t.Fatalf("%+v, %q: %d values of %d rows, %v", c, data, len(values), end.Rows, err)
		}
	})
}
