package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// leastRows is enough for every COPY to be staged.
const leastRows = 200_000

// lab is what scenarios share: a server, and what is made when the first
// scenario asks for it. It is used by one goroutine.
type lab struct {
	opts    options
	out     io.Writer
	rng     *rand.Rand
	tmp     string
	cluster *cluster
	clients clients
	report  *Report

	binary       string
	s3           *s3Server
	data         *dataset
	insert       *insertData
	installed    bool
	pgbenchReady bool
	tlsReady     bool
}

// openLab starts the server; the caller closes the lab.
func openLab(ctx context.Context, opts options, out io.Writer) (*lab, error) {
	tmp, err := os.MkdirTemp("", "pgbulkproxy-bench-")
	if err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	l := &lab{
		opts: opts, out: out, tmp: tmp, binary: opts.Proxy,
		rng:    rand.New(rand.NewPCG(opts.Seed, 0)),
		report: &Report{Date: time.Now(), Machine: thisMachine(ctx), Settings: opts.settings()},
	}
	// The server and PgBouncer run as other users, who have to get in.
	if err := os.Chmod(tmp, 0o711); err != nil {
		return nil, errors.Join(fmt.Errorf("open temporary directory: %w", err), l.close())
	}
	if l.cluster, err = startCluster(ctx, tmp, opts.PgBin); err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.clients = clients{binDir: l.cluster.server.BinDir()}
	l.report.Machine.Postgres = l.cluster.version
	return l, nil
}

// close ends every program and removes every file but the data set. It takes no
// context because it has to be done when the user interrupted us, too.
func (l *lab) close() error {
	var errs []error
	if l.s3 != nil {
		l.s3.stop()
	}
	if l.cluster != nil {
		errs = append(errs, l.cluster.stop(context.Background()))
	}
	return errors.Join(append(errs, os.RemoveAll(l.tmp))...)
}

// runAll runs the scenarios one after the other. One that fails does not keep
// the others from running; an interrupt does, with what was measured reported.
func (l *lab) runAll(ctx context.Context, all []scenario) {
	for i, s := range all {
		l.progress("%d of %d: %s: %s", i+1, len(all), s.name, s.summary)
		results, err := s.run(ctx, l)
		var skipped skipError
		switch {
		case ctx.Err() != nil:
			l.report.Failed = append(l.report.Failed, Outcome{s.name, "interrupted"})
			return
		case errors.As(err, &skipped):
			l.report.Skipped = append(l.report.Skipped, Outcome{s.name, skipped.Error()})
			l.progress("  skipped: %v", err)
		case err != nil:
			l.report.Failed = append(l.report.Failed, Outcome{s.name, err.Error()})
			l.progress("  failed: %v", err)
		}
		l.report.Results = append(l.report.Results, results...)
	}
}

// progress tells the user what goes on. Where even that cannot be written
// nothing better could be done with the error.
func (l *lab) progress(format string, args ...any) {
	fmt.Fprintf(l.out, format+"\n", args...)
}

// options are the command line, see the help texts.
type options struct {
	Run         string    `help:"Regular expression of the scenarios to run." default:"." placeholder:"REGEX"`
	List        bool      `help:"List the scenarios and exit."`
	Rounds      int       `help:"Measured rounds; each runs every way once." default:"5"`
	Rows        int       `help:"Rows of the data set, about 100 bytes of text each." default:"2000000"`
	InsertRows  int       `help:"Rows of an INSERT scenario; single-row ones take fewer." default:"200000"`
	DSN         string    `name:"dsn" help:"A distributed server on this machine, by its superuser, for the scenarios given-…; they make tables there, and install what the engine needs." placeholder:"DSN"`
	Engine      string    `help:"The engine of --dsn: greenplum, citus, postgres or plain." default:"greenplum" enum:"greenplum,citus,postgres,plain"`
	GivenRows   int       `help:"Rows of a COPY into the server of --dsn." default:"1000000"`
	MigrateRows int64     `help:"Rows of the table whose groups are migrated; half of them are moved." default:"10000000"`
	Crowd       int       `help:"COPYs at once of scenario copy-crowd." default:"50"`
	Seconds     int       `help:"Seconds of one pgbench run." default:"5"`
	Memory      []float64 `help:"Sizes in GB for the memory scenarios." default:"1,4"`
	JSON        string    `name:"json" help:"Write every value to this file." type:"path" placeholder:"FILE"`
	MD          string    `name:"md" help:"Write the tables to this file instead of stdout." type:"path" placeholder:"FILE"`
	SVG         string    `name:"svg" help:"Write a chart of the ratios to this file." type:"path" placeholder:"FILE"`
	Dir         string    `help:"Where the data set is kept between runs. Default: pgbulkproxy-bench in the user's cache directory." type:"path"`
	Proxy       string    `help:"A pgbulkproxy binary; without it, it is built." type:"existingfile" placeholder:"FILE" xor:"proxy"`
	NoProxy     bool      `help:"Measure the server against itself: the noise of this machine." xor:"proxy"`
	Set         []string  `help:"A setting for the proxy, passed on as its --set. May be repeated." placeholder:"KEY=VALUE" sep:"none"`
	Pgbouncer   string    `help:"The PgBouncer to compare with." default:"pgbouncer" placeholder:"FILE"`
	Pgjdbc      string    `help:"The jar of pgjdbc to measure." default:"/usr/share/java/postgresql.jar" placeholder:"FILE"`
	Python      string    `help:"A Python that has psycopg 3." default:"python3" placeholder:"FILE"`
	PgBin       string    `help:"Directory of initdb, postgres, psql and pgbench. Default: searched for." type:"existingdir" placeholder:"DIR"`
	Seed        uint64    `help:"Seed for the order of the ways." default:"1"`
}

// Validate is called by the command line parser.
func (o *options) Validate() error {
	if o.MigrateRows < 10*smallGroups || o.MigrateRows%(4*giantGroups) != 0 {
		return fmt.Errorf("--migrate-rows must be at least %d, and a multiple of %d", 10*smallGroups, 4*giantGroups)
	}
	if o.Crowd < 1 || o.Crowd > 100 {
		return errors.New("--crowd must be 1 to 100")
	}
	if o.Rounds < 1 || o.Rows < leastRows || o.InsertRows < batchRows || o.Seconds < 1 {
		return fmt.Errorf("--rounds and --seconds must be at least 1, --rows at least %d, --insert-rows at least %d", leastRows, batchRows)
	}
	for _, size := range o.Memory {
		if size <= 0 {
			return fmt.Errorf("--memory: %g GB is no size", size)
		}
	}
	if _, err := regexp.Compile(o.Run); err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	return nil
}

// settings are what a reader of the report needs to know beside the machine.
func (o *options) settings() map[string]string {
	s := clusterSettings()
	s["rounds"], s["rows"], s["pgbench_seconds"] = strconv.Itoa(o.Rounds), strconv.Itoa(o.Rows), strconv.Itoa(o.Seconds)
	s["crowd"] = strconv.Itoa(o.Crowd)
	s["migrate_rows"] = strconv.FormatInt(o.MigrateRows, 10)
	s["insert_rows"] = strconv.Itoa(o.InsertRows)
	if len(o.Set) > 0 {
		s["proxy"] = strings.Join(o.Set, " ")
	}
	if o.NoProxy {
		s["proxy"] = "none, the server itself"
	}
	return s
}
