package rewrite

import (
	"errors"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// ParseCopy reads one COPY … FROM STDIN. Exactly one of three things comes
// back: a statement with ReasonNone; a reason to relay the text untouched; or,
// with ReasonUnsupportedOption, a Refusal to answer.
//
// Texts over maxBytes are not parsed. What the server would refuse without
// looking at its catalogs is a reason too, so that the refusal is the server's.
func ParseCopy(sql string, maxBytes int) (*CopyStatement, Reason, *Refusal) {
	if len(sql) > maxBytes {
		return nil, ReasonTooLong, nil
	}
	raw, err := pgquery.ParseCopy(sql)
	if errors.Is(err, pgquery.ErrWhereTooLong) {
		return nil, ReasonWhereTooLong, nil
	}
	if err != nil {
		return nil, ReasonParseError, nil
	}
	if reason, refusal := shapeReason(raw); reason != ReasonNone {
		return nil, reason, refusal
	}
	c := &CopyStatement{
		SQL: sql, Schema: raw.Schema, Table: raw.Table, Columns: raw.Columns,
		Where: raw.Where != "", WhereSQL: raw.Where,
	}
	if reason, refusal := c.readOptions(raw.Options); reason != ReasonNone {
		return nil, reason, refusal
	}
	return c, ReasonNone, nil
}

// shapeReason says why a text is not a COPY table FROM STDIN that the proxy
// can follow.
func shapeReason(raw *pgquery.RawCopy) (Reason, *Refusal) {
	switch raw.Shape {
	case pgquery.CopyFrom:
	case pgquery.Multi:
		return ReasonMultiStatement, nil
	case pgquery.CopyQuery:
		return ReasonCopyQuery, nil
	case pgquery.CopyTo:
		return ReasonCopyTo, nil
	case pgquery.CopyToFile:
		if isS3(raw.Filename) {
			return ReasonUnsupportedOption, &Refusal{Feature: "COPY TO 's3://…'"}
		}
		return ReasonCopyTo, nil
	case pgquery.CopyProgram:
		return ReasonCopyProgram, nil
	case pgquery.CopyFile:
		if isS3(raw.Filename) {
			return ReasonUnsupportedOption, &Refusal{Feature: "COPY FROM 's3://…'"}
		}
		return ReasonCopyFile, nil
	default:
		return ReasonNotCopyFromStdin, nil
	}
	switch {
	case raw.LongName:
		return ReasonLongName, nil
	case raw.Params:
		return ReasonParameters, nil
	case raw.Catalog != "":
		return ReasonQualifiedDatabase, nil
	case raw.Table == "":
		return ReasonParseError, nil
	}
	return ReasonNone, nil
}

func isS3(name string) bool {
	return len(name) >= 5 && strings.EqualFold(name[:5], "s3://")
}
