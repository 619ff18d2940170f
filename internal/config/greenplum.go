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
		{Name: "greenplum.reader", Kind: Choice, Default: MethodAuto, Choices: []string{MethodAuto, MethodCopy, ReaderS3, ReaderGpfdist},
			Doc:   "How engine greenplum brings rows in: auto (as load.method says), copy (through the coordinator), s3 (the segments read the staged files; needs greenplum.listen), or gpfdist (the segments pull the rows from the proxy while they come; needs greenplum.gpfdist_listen).",
			field: func(c *Config) any { return &c.Greenplum.Reader }},
		{Name: "greenplum.listen", Kind: String,
			Doc:   "HOST:PORT where the segments fetch what they need to read S3, by URLs that live as long as the statement of a load. Empty: they do not read S3.",
			field: func(c *Config) any { return &c.Greenplum.Listen }},
		{Name: "greenplum.advertise", Kind: String,
			Doc:   "HOST:PORT by which the segments reach greenplum.listen. Empty: the same.",
			field: func(c *Config) any { return &c.Greenplum.Advertise }},
		{Name: "greenplum.gpfdist_listen", Kind: String,
			Doc:   "HOST:PORT where the segments pull rows by the gpfdist protocol, by URLs that live as long as the statement of a load. Empty: they don't.",
			field: func(c *Config) any { return &c.Greenplum.GpfdistListen }},
		{Name: "greenplum.gpfdist_advertise", Kind: String,
			Doc:   "HOST:PORT by which the segments reach greenplum.gpfdist_listen. Empty: the same.",
			field: func(c *Config) any { return &c.Greenplum.GpfdistAdvertise }},
		{Name: "greenplum.gpfdist_timeout", Kind: Duration, Default: "1m", Min: second, Max: day,
			Doc:   "How long the segments may take none of the rows that there are for them by gpfdist; then the load goes on natively.",
			field: func(c *Config) any { return &c.Greenplum.GpfdistTimeout }},
		{Name: "greenplum.segments", Kind: String,
			Doc:   "The networks that the segments come from (10.1.0.0/16, with commas between); others can't fetch from greenplum.listen or greenplum.gpfdist_listen. Empty: whoever knows the URL can.",
			field: func(c *Config) any { return &c.Greenplum.Segments }},
	}
}

// Reach is the address at which the segments reach the proxy by Reader, or "" where
// they have nothing to fetch there.
func (g Greenplum) Reach() string {
	first := func(advertise, listen string) string {
		if advertise != "" {
			return advertise
		}
		return listen
	}
	switch g.Reader {
	case ReaderS3:
		return first(g.Advertise, g.Listen)
	case ReaderGpfdist:
		return first(g.GpfdistAdvertise, g.GpfdistListen)
	}
	return ""
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
	for name, pair := range map[string][2]string{"": {g.Listen, g.Advertise}, "gpfdist_": {g.GpfdistListen, g.GpfdistAdvertise}} {
		if err := validateReach(name, pair[0], pair[1]); err != nil {
			return err
		}
	}
	if _, err := g.Networks(); err != nil {
		return fmt.Errorf("greenplum.segments: %w", err)
	}
	switch {
	case g.Listen == "" && g.Reader == ReaderS3:
		return errors.New("greenplum.reader: s3 needs greenplum.listen")
	case g.GpfdistListen == "" && g.Reader == ReaderGpfdist:
		return errors.New("greenplum.reader: gpfdist needs greenplum.gpfdist_listen")
	}
	return nil
}

// validateReach checks where a server listens and where segments find it.
func validateReach(name, listen, advertise string) error {
	if listen != "" {
		if _, _, err := hostPort(listen); err != nil {
			return fmt.Errorf("greenplum.%slisten: %w", name, err)
		}
	}
	if advertise != "" {
		if _, _, err := hostPort(advertise); err != nil {
			return fmt.Errorf("greenplum.%sadvertise: %w", name, err)
		}
	}
	host, _, _ := net.SplitHostPort(listen)
	if ip, err := netip.ParseAddr(host); listen != "" && advertise == "" && (host == "" || err == nil && ip.IsUnspecified()) {
		return fmt.Errorf("greenplum.%sadvertise: is required where greenplum.%slisten is every address", name, name)
	}
	return nil
}
