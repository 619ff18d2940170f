package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// programs are clients in other languages. They read the rows from the source
// table before they begin, and print the seconds of the transaction alone:
// starting Java or Python would hide what is measured.
//
//go:embed programs
var programs embed.FS

// secondsLine is how a program says how long its transaction took.
var secondsLine = regexp.MustCompile(`(?m)^seconds = ([0-9.eE+-]+)$`)

// insertProgram measures what a driver in another language makes of single-row
// INSERTs that its user gave it many at a time.
type insertProgram struct {
	name    string
	summary string
	// prepare returns the command to run, or a skipError where the language or
	// the driver is missing.
	prepare func(ctx context.Context, l *lab) ([]string, error)
}

func insertPrograms() []scenario {
	var all []scenario
	for _, s := range []insertProgram{
		{"insert-jdbc", fmt.Sprintf("pgjdbc executeBatch of %d single rows a batch in one transaction", batchRows), prepareJava("")},
		{"insert-jdbc-rewrite", "the same with " + rewriteBatched, prepareJava(rewriteBatched)},
		{"insert-psycopg3", "psycopg 3 executemany of all rows in one transaction", preparePython},
	} {
		all = append(all, scenario{name: s.name, summary: s.summary, run: s.run})
	}
	return all
}

func (s insertProgram) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.insertData(ctx)
	if err != nil {
		return nil, err
	}
	command, err := s.prepare(ctx, l)
	if err != nil {
		return nil, err
	}
	return insertComparison{
		name: s.name, engine: "postgres", rows: data.rows, server: l.cluster.endpoint, ceiling: true,
		insert: func(ctx context.Context, ep endpoint) (time.Duration, error) {
			out, _, err := l.clients.program(ctx, ep, "", nil, command[0], command[1:]...)
			if err != nil {
				return 0, err
			}
			return parseSeconds(out)
		},
	}.run(ctx, l)
}

func parseSeconds(out string) (time.Duration, error) {
	m := secondsLine.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no seconds in the output of the program: %q", out)
	}
	seconds, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("read the seconds of the program: %w", err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// rewriteBatched has pgjdbc join single rows to statements of 128 rows.
const rewriteBatched = "reWriteBatchedInserts=true"

// prepareJava gives the connection an option.
func prepareJava(option string) func(context.Context, *lab) ([]string, error) {
	return func(ctx context.Context, l *lab) ([]string, error) {
		command, err := compileJava(ctx, l)
		if err == nil && option != "" {
			command = append(command, option)
		}
		return command, err
	}
}

// compileJava compiles the program beforehand: the compiler would otherwise run
// in the same process and warm it up.
func compileJava(ctx context.Context, l *lab) ([]string, error) {
	for _, tool := range []string{"java", "javac"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, skipError("without a JDK: " + err.Error())
		}
	}
	if _, err := os.Stat(l.opts.Pgjdbc); err != nil {
		return nil, skipError("without pgjdbc: " + err.Error())
	}
	source, err := l.unpackProgram("InsertBatch.java")
	if err != nil {
		return nil, err
	}
	if err := runQuietly(exec.CommandContext(ctx, "javac", "-d", l.tmp, source)); err != nil {
		return nil, fmt.Errorf("compile %s: %w", source, err)
	}
	return []string{
		"java", "-cp", l.opts.Pgjdbc + string(filepath.ListSeparator) + l.tmp, "InsertBatch",
		sourceTable, insertTable, strconv.Itoa(batchRows),
	}, nil
}

func preparePython(ctx context.Context, l *lab) ([]string, error) {
	if err := runQuietly(exec.CommandContext(ctx, l.opts.Python, "-c", "import psycopg")); err != nil {
		return nil, skipError("without psycopg 3: " + lastLine(strings.TrimSpace(err.Error())))
	}
	source, err := l.unpackProgram("insert_many.py")
	if err != nil {
		return nil, err
	}
	return []string{l.opts.Python, source, sourceTable, insertTable}, nil
}

// lastLine is where Python says what is wrong.
func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

// unpackProgram writes an embedded program where its language can run it.
func (l *lab) unpackProgram(name string) (string, error) {
	text, err := programs.ReadFile("programs/" + name)
	if err != nil {
		return "", fmt.Errorf("unpack program: %w", err)
	}
	path := filepath.Join(l.tmp, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", fmt.Errorf("unpack program: %w", err)
	}
	return path, nil
}
