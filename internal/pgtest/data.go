package pgtest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// defaultChunk is the size of a CopyData message that pgx and pgjdbc use.
const defaultChunk = 64 << 10

// row cuts after every row, as psql does.
const row = -1

// placeholder is what CopyGenerate replaces in every row: {i}, {i%7}, {i+7},
// {i/7}, and {pad 20} for twenty letters.
var placeholder = regexp.MustCompile(`\{(i)(?:([%+/])(\d+))?\}|\{pad (\d+)\}`)

func isData(name string) bool {
	switch name {
	case "CopyData", "CopyGenerate", "CopyHex", "CopyRepeat", "CopyFile", "CopyBinary":
		return true
	}
	return false
}

// parseData reads a line that stands for one or many CopyData messages. The
// bytes are made when they are sent, so a parsed script stays small.
func parseData(line, dir string) (source, error) {
	name, rest, _ := strings.Cut(line, " ")
	if strings.HasPrefix(line, `"`) {
		name, rest = "CopyData", line
	}
	chunk := defaultChunk
	noTrailer := false
	for {
		head, option, found := cutLastWord(rest)
		size, isChunk := strings.CutPrefix(option, "chunk=")
		switch {
		case found && isChunk && size == "row":
			chunk = row
		case found && isChunk:
			n, err := strconv.Atoi(size)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("chunk size %q", size)
			}
			chunk = n
		case found && option == "notrailer":
			noTrailer = true
		default:
			rows, err := dataRows(name, rest, dir, noTrailer)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			return dataSource(name, rows, chunk), nil
		}
		rest = head
	}
}

func cutLastWord(text string) (string, string, bool) {
	at := strings.LastIndexByte(text, ' ')
	if at < 0 {
		return text, "", false
	}
	return strings.TrimSpace(text[:at]), text[at+1:], true
}

// dataSource frames rows, each valid until the next, as CopyData. A CopyData line is one message as it
// stands; everything else is cut at chunk bytes, wherever that falls.
func dataSource(name string, rows func(yield func([]byte)) error, chunk int) source {
	return func(expand func(string) string) ([][]byte, error) {
		var messages [][]byte
		var pending []byte
		err := rows(func(data []byte) {
			if name == "CopyData" {
				messages = append(messages, copyData([]byte(expand(string(data)))))
				return
			}
			if chunk == row {
				messages = append(messages, copyData(data))
				return
			}
			pending = append(pending, data...)
			cut := 0
			for ; len(pending)-cut >= chunk; cut += chunk {
				messages = append(messages, copyData(pending[cut:cut+chunk]))
			}
			if cut > 0 { // not for every row: it moves all that is pending
				pending = append(pending[:0], pending[cut:]...)
			}
		})
		if len(pending) > 0 {
			messages = append(messages, copyData(pending))
		}
		return messages, err
	}
}

func copyData(data []byte) []byte {
	frame := make([]byte, 0, 5+len(data))
	frame = append(frame, 'd')
	frame = binary.BigEndian.AppendUint32(frame, uint32(4+len(data)))
	return append(frame, data...)
}

func dataRows(name, rest, dir string, noTrailer bool) (func(func([]byte)) error, error) {
	switch name {
	case "CopyData":
		text, err := strconv.Unquote(rest)
		return one([]byte(text)), err
	case "CopyHex":
		data, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		return one(data), err
	case "CopyFile":
		return func(yield func([]byte)) error {
			data, err := os.ReadFile(filepath.Join(dir, rest))
			if err != nil {
				return fmt.Errorf("read data file: %w", err)
			}
			yield(data)
			return nil
		}, nil
	}
	count, argument, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	switch name {
	case "CopyRepeat":
		text, err := strconv.Unquote(argument)
		return one([]byte(strings.Repeat(text, n))), err
	case "CopyGenerate":
		template, err := strconv.Unquote(argument)
		return generate(n, template), err
	default:
		return binaryRows(n, strings.Split(argument, ","), noTrailer)
	}
}

func one(data []byte) func(func([]byte)) error {
	return func(yield func([]byte)) error {
		yield(data)
		return nil
	}
}

// part is a piece of a row's template: a literal, or a number made from the
// row's own.
type part struct {
	literal   string
	operation string // of the number: "", "%", "+", "/"; "-" for a literal
	operand   int
}

func parseTemplate(template string) []part {
	var parts []part
	last := 0
	for _, at := range placeholder.FindAllStringSubmatchIndex(template, -1) {
		parts = append(parts, part{literal: template[last:at[0]], operation: "-"})
		last = at[1]
		group := func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return template[at[2*n]:at[2*n+1]]
		}
		operand, _ := strconv.Atoi(group(3) + group(4)) // both match digits only
		if group(4) != "" {
			parts = append(parts, part{literal: strings.Repeat("x", operand), operation: "-"})
			continue
		}
		parts = append(parts, part{operation: group(2), operand: operand})
	}
	return append(parts, part{literal: template[last:], operation: "-"})
}

func (p part) appendTo(data []byte, i int) []byte {
	switch p.operation {
	case "-":
		return append(data, p.literal...)
	case "%":
		i %= max(p.operand, 1)
	case "/":
		i /= max(p.operand, 1)
	case "+":
		i += p.operand
	}
	return strconv.AppendInt(data, int64(i), 10)
}

// generate numbers rows from 1, and uses the same bytes for each.
func generate(n int, template string) func(func([]byte)) error {
	parts := parseTemplate(template)
	return func(yield func([]byte)) error {
		var data []byte
		for i := 1; i <= n; i++ {
			data = data[:0]
			for _, part := range parts {
				data = part.appendTo(data, i)
			}
			yield(data)
		}
		return nil
	}
}

// binaryRows makes a COPY binary stream of numbered rows: int2, int4 and int8
// columns hold the number, text columns "name" and the number, null columns
// NULL.
func binaryRows(n int, types []string, noTrailer bool) (func(func([]byte)) error, error) {
	for _, name := range types {
		switch name {
		case "int2", "int4", "int8", "text", "null":
		default:
			return nil, fmt.Errorf("binary type %q", name)
		}
	}
	return func(yield func([]byte)) error {
		yield([]byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
		for i := 1; i <= n; i++ {
			data := binary.BigEndian.AppendUint16(nil, uint16(len(types)))
			for _, name := range types {
				data = appendBinary(data, name, i)
			}
			yield(data)
		}
		if !noTrailer {
			yield([]byte{0xff, 0xff})
		}
		return nil
	}, nil
}

func appendBinary(data []byte, name string, i int) []byte {
	switch name {
	case "int2":
		data = binary.BigEndian.AppendUint32(data, 2)
		return binary.BigEndian.AppendUint16(data, uint16(i))
	case "int4":
		data = binary.BigEndian.AppendUint32(data, 4)
		return binary.BigEndian.AppendUint32(data, uint32(i))
	case "int8":
		data = binary.BigEndian.AppendUint32(data, 8)
		return binary.BigEndian.AppendUint64(data, uint64(i))
	case "text":
		text := "name" + strconv.Itoa(i)
		data = binary.BigEndian.AppendUint32(data, uint32(len(text)))
		return append(data, text...)
	}
	return binary.BigEndian.AppendUint32(data, 0xffffffff)
}
