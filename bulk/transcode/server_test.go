package transcode

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

var (
	flagValues = flag.Int("transcode.values", 2000, "random values of each type")
	flagSeed   = flag.Uint64("transcode.seed", 1, "where the random values begin")
)

// TestServer stores texts of every type natively and transcoded: texts that the
// server makes under several settings, changed ones, and those of the lists.
func TestServer(t *testing.T) {
	t.Parallel()
	lists := allLists()
	for _, c := range slices.Concat(serverCases, timeCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOracle(t, c.kind, c.before...)
			r := rand.New(rand.NewPCG(*flagSeed, uint64(len(c.kind))))
			if len(c.settings) == 0 {
				c.settings = []string{"SELECT"}
			}
			all := *flagValues
			if testing.Short() {
				all /= 10
			}
			var sum, first found
			for _, set := range c.settings {
				if _, err := o.conn.Exec(t.Context(), set); err != nil {
					t.Fatal(err)
				}
				o.read(t)
				var values []string
				for _, made := range c.made {
					values = append(values, o.make(t, made, 1+all/len(c.made)/len(c.settings)/2)...)
				}
				if strings.HasPrefix(c.kind, "float") {
					values = append(values, randomFloats(r, all/len(c.settings)/4)...)
				}
				f := o.all(t, r, values)
				if c.settings[0] == set && f.taken == 0 {
					t.Errorf("%s: nothing is taken", set)
				}
				first.add(f)
				sum.add(o.all(t, r, mutate(r, values, c.list)))
				others := lists
				if testing.Short() {
					others = sample(r, lists, len(lists)/10)
				}
				sum.add(o.all(t, r, append(slices.Clone(c.list), others...)))
			}
			o.read(t)
			sum.add(o.foreign(t, r, c.kind, append(o.make(t, c.made[0], 40), sample(r, c.list, min(len(c.list), 60))...)))
			t.Logf("of what it makes %+v, of the rest %+v", first, sum)
		})
	}
}

// foreign compares what the server reads of a file by a foreign table, as external
// tables do.
func (o *oracle) foreign(t *testing.T, r *rand.Rand, kind string, values []string) found {
	t.Helper()
	if _, err := o.conn.Exec(t.Context(), "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw"); err != nil {
		t.Fatal(err)
	}
	o.kind = kind
	defer func() { o.kind = "" }()
	return o.all(t, r, values)
}

func (f *found) add(g found) {
	f.taken, f.left, f.refused = f.taken+g.taken, f.left+g.left, f.refused+g.refused
}

// allLists are the texts of all cases: what one type takes is unusual to another.
func allLists() (all []string) {
	for _, c := range slices.Concat(serverCases, timeCases) {
		all = append(all, c.list...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sample takes some of the texts.
func sample(r *rand.Rand, all []string, n int) (some []string) {
	for range n {
		some = append(some, all[r.IntN(len(all))])
	}
	return some
}

// make has the server make texts.
func (o *oracle) make(t *testing.T, expression string, n int) []string {
	t.Helper()
	seed := fmt.Sprintf("SELECT setseed(%f)", float64(*flagSeed%1000)/1000)
	if _, err := o.conn.Exec(t.Context(), seed); err != nil {
		t.Fatal(err)
	}
	rows, err := o.conn.Query(t.Context(), fmt.Sprintf("SELECT (%s)::text FROM (SELECT g, random() r FROM generate_series(1, %d) g OFFSET 0) x", expression, n))
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return values
}

// all judges values in batches, so that one that both refuse costs little, and
// in both formats.
func (o *oracle) all(t *testing.T, r *rand.Rand, values []string) (sum found) {
	t.Helper()
	for batch := range slices.Chunk(values, 100) {
		o.format.CSV, o.single = r.IntN(2) == 0, r.IntN(2) == 0
		f, err := o.judge(context.WithoutCancel(t.Context()), batch)
		if err != nil {
			t.Errorf("%+v: %v", o.settings, err)
		}
		sum.add(f)
	}
	return sum
}

// alphabet is what texts are changed with.
const alphabet = " \t\n0123456789+-.,:;/eExX_TZabcdfntrBCD{}[]()\"'\\\x00\x80é"

// mutate changes texts a little; half of them come from the list.
func mutate(r *rand.Rand, values, list []string) []string {
	changed := make([]string, 0, len(values))
	for i := range values {
		p := []byte(values[r.IntN(len(values))])
		if len(list) > 0 && i%2 == 0 {
			p = []byte(list[r.IntN(len(list))])
		}
		for range 1 + r.IntN(2) {
			at, c := r.IntN(len(p)+1), alphabet[r.IntN(len(alphabet))]
			switch {
			case r.IntN(3) == 0 || at == len(p):
				p = slices.Insert(p, at, c)
			case r.IntN(2) == 0:
				p = slices.Delete(p, at, at+1)
			case r.IntN(4) == 0:
				p[at], p[0] = p[0], p[at]
			default:
				p[at] = c
			}
		}
		changed = append(changed, string(p))
	}
	return changed
}

// randomFloats are those of random bits, in all spellings.
func randomFloats(r *rand.Rand, n int) []string {
	values := make([]string, 0, n)
	for range n {
		v := math.Float64frombits(r.Uint64())
		if r.IntN(2) == 0 {
			v = float64(math.Float32frombits(r.Uint32()))
		}
		values = append(values, strconv.FormatFloat(v, "eEfgG"[r.IntN(5)], r.IntN(25)-1, 64))
	}
	return values
}
