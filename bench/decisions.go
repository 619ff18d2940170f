package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// decisionLine is a line of the proxy's metrics: how many statements of a kind
// went which way, and why.
var decisionLine = regexp.MustCompile(`(?m)^pgbulk_statements_total\{decision="([^"]*)",kind="([^"]*)",reason="([^"]*)"\} (\S+)$`)

// decisionsNote says which way the statements went, because a figure of ones
// that were only relayed would mean something else than its name says.
func (p *proxy) decisionsNote(ctx context.Context) []string {
	if p.daemon == nil {
		return nil
	}
	text, err := p.scrape(ctx)
	if err != nil {
		return []string{"path not checked: " + err.Error()}
	}
	return []string{decisions(text)}
}

// decisions reads them out of the metrics' text.
func decisions(text string) string {
	var parts []string
	for _, m := range decisionLine.FindAllStringSubmatch(text, -1) {
		if m[4] == "0" {
			continue
		}
		part := fmt.Sprintf("%s %s %s", m[2], m[1], m[4])
		if m[3] != "" {
			part += " (" + m[3] + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "warm-up and rounds: no bulk statement seen"
	}
	return "warm-up and rounds: " + strings.Join(parts, ", ")
}

func (p *proxy) scrape(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/metrics", nil)
	if err != nil {
		return "", fmt.Errorf("read metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("read metrics: %w", err)
	}
	return string(text), nil
}
