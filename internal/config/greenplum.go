package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

func greenplumKeys() []Key {
	return []Key{
		{Name: "greenplum.reader", Kind: Choice, Default: MethodAuto, Choices: []string{MethodAuto, MethodCopy, ReaderS3},
			Doc:   "How engine greenplum brings rows in: auto (as load.method says), copy (through the coordinator), or s3 (the segments read the staged files; needs greenplum.listen).",
			field: func(c *Config) any { return &c.Greenplum.Reader }},
		{Name: "greenplum.listen", Kind: String,
			Doc:   "HOST:PORT where the segments fetch what they need to read S3, by URLs that live as long as the statement of a load. Empty: they do not read S3.",
			field: func(c *Config) any { return &c.Greenplum.Listen }},
		{Name: "greenplum.advertise", Kind: String,
			Doc:   "HOST:PORT by which the segments reach greenplum.listen. Empty: the same.",
			field: func(c *Config) any { return &c.Greenplum.Advertise }},
		{Name: "greenplum.segments", Kind: String,
			Doc:   "The networks that the segments come from (10.1.0.0/16, with commas between); others can't fetch from greenplum.listen. Empty: whoever knows the URL can.",
			field: func(c *Config) any { return &c.Greenplum.Segments }},
	}
}

// Networks parses Segments.
func (g Greenplum) Networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for part := range strings.SplitSeq(g.Segments, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			addr, aerr := netip.ParseAddr(part)
			if aerr != nil {
				return nil, fmt.Errorf("%q is no network", part)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (c Config) validateGreenplum() error {
	g := c.Greenplum
	for name, value := range map[string]string{"listen": g.Listen, "advertise": g.Advertise} {
		if value == "" {
			continue
		}
		if _, _, err := hostPort(value); err != nil {
			return fmt.Errorf("greenplum.%s: %w", name, err)
		}
	}
	if _, err := g.Networks(); err != nil {
		return fmt.Errorf("greenplum.segments: %w", err)
	}
	if g.Listen == "" && g.Reader == ReaderS3 {
		return errors.New("greenplum.reader: s3 needs greenplum.listen")
	}
	host, _, _ := net.SplitHostPort(g.Listen)
	if ip, err := netip.ParseAddr(host); g.Listen != "" && g.Advertise == "" && (host == "" || err == nil && ip.IsUnspecified()) {
		return errors.New("greenplum.advertise: is required where greenplum.listen is every address")
	}
	return nil
}
