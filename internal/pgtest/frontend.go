package pgtest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// source is one line of a message body: it yields the bytes to be written, cut
// the way they should reach the wire.
type source func(expand func(string) string) ([][]byte, error)

// parseMessage reads one line of a send body. dir is where CopyFile looks.
func parseMessage(line, dir string) (source, error) {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if isData(name) || strings.HasPrefix(line, `"`) {
		return parseData(line, dir)
	}
	if name == "Raw" {
		raw, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		return func(func(string) string) ([][]byte, error) { return [][]byte{raw}, nil }, err
	}
	if _, err := frontendMessage(name, rest); err != nil {
		return nil, fmt.Errorf("message %q: %w", line, err)
	}
	return func(expand func(string) string) ([][]byte, error) {
		message, err := frontendMessage(name, expand(rest))
		if err != nil {
			return nil, err
		}
		encoded, err := message.Encode(nil)
		return [][]byte{encoded}, err
	}, nil
}

func frontendMessage(name, rest string) (pgproto3.FrontendMessage, error) {
	switch name {
	case "Query":
		return shorthand(&pgproto3.Query{}, rest, func(m *pgproto3.Query, text string) { m.String = text })
	case "Parse":
		return shorthand(&pgproto3.Parse{}, rest, func(m *pgproto3.Parse, text string) { m.Query = text })
	case "CopyFail":
		return shorthand(&pgproto3.CopyFail{}, rest, func(m *pgproto3.CopyFail, text string) { m.Message = text })
	case "Bind":
		return shorthand(&pgproto3.Bind{}, rest, func(m *pgproto3.Bind, text string) { m.PreparedStatement = text })
	case "Execute":
		return shorthand(&pgproto3.Execute{}, rest, func(m *pgproto3.Execute, text string) { m.Portal = text })
	case "Describe":
		return shorthand(&pgproto3.Describe{}, rest, func(m *pgproto3.Describe, text string) { m.ObjectType, m.Name = object(text) })
	case "Close":
		return shorthand(&pgproto3.Close{}, rest, func(m *pgproto3.Close, text string) { m.ObjectType, m.Name = object(text) })
	case "FunctionCall":
		return functionCall(rest)
	case "Sync":
		return &pgproto3.Sync{}, nil
	case "Flush":
		return &pgproto3.Flush{}, nil
	case "CopyDone":
		return &pgproto3.CopyDone{}, nil
	case "Terminate":
		return &pgproto3.Terminate{}, nil
	}
	return nil, fmt.Errorf("unknown frontend message %q", name)
}

// shorthand fills a message from a JSON object, a quoted string or bare text.
func shorthand[M pgproto3.FrontendMessage](message M, rest string, set func(M, string)) (pgproto3.FrontendMessage, error) {
	switch {
	case strings.HasPrefix(rest, "{"):
		if err := json.Unmarshal([]byte(rest), message); err != nil {
			return nil, fmt.Errorf("read fields: %w", err)
		}
	case strings.HasPrefix(rest, `"`) && strings.HasSuffix(rest, `"`) && len(rest) > 1:
		text, err := strconv.Unquote(rest)
		if err != nil {
			return nil, fmt.Errorf("unquote %s: %w", rest, err)
		}
		set(message, text)
	case rest != "":
		set(message, rest)
	}
	return message, nil
}

// object reads "S name" or "P name"; without a word it is the unnamed portal.
func object(text string) (byte, string) {
	kind, name, _ := strings.Cut(text, " ")
	if kind == "" {
		return 'P', ""
	}
	return kind[0], name
}

// functionCall reads an oid and text arguments.
func functionCall(rest string) (pgproto3.FrontendMessage, error) {
	words := strings.Fields(rest)
	if len(words) == 0 {
		return nil, fmt.Errorf("FunctionCall needs an oid")
	}
	oid, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read oid: %w", err)
	}
	call := &pgproto3.FunctionCall{Function: uint32(oid)}
	for _, word := range words[1:] {
		call.Arguments = append(call.Arguments, []byte(word))
	}
	return call, nil
}

// setText sets the statement of a message that has one, without any shorthand.
func setText(message pgproto3.FrontendMessage, text string) {
	switch m := message.(type) {
	case *pgproto3.Query:
		m.String = text
	case *pgproto3.Parse:
		m.Query = text
	}
}
