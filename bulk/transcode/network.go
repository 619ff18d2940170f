package transcode

import (
	"bytes"
	"net/netip"
)

// The families of an address in binary.
const (
	familyV4 = 2
	familyV6 = 3
)

func appendInet(dst, text []byte) ([]byte, bool) { return appendAddress(dst, text, false) }

// appendCIDR leaves networks without a mask to the server, which makes one. It
// also judges the bits behind the mask, by the same rule in both formats.
func appendCIDR(dst, text []byte) ([]byte, bool) { return appendAddress(dst, text, true) }

func appendAddress(dst, text []byte, cidr bool) ([]byte, bool) {
	host, mask, masked := bytes.Cut(text, []byte{'/'})
	addr, ok := parseAddress(host)
	if !ok || cidr && !masked {
		return dst, false
	}
	bits := addr.BitLen()
	if masked {
		if bits, ok = maskBits(mask, bits); !ok {
			return dst, false
		}
	}
	kind := byte(0)
	if cidr {
		kind = 1
	}
	if addr.Is4() {
		a := addr.As4()
		return append(append(dst, familyV4, byte(bits), kind, 4), a[:]...), true
	}
	a := addr.As16()
	return append(append(dst, familyV6, byte(bits), kind, 16), a[:]...), true
}

// parseAddress reads four numbers, or an address of the sixth version. Its forms
// with a zone or with an address of the fourth within are left to the server.
func parseAddress(host []byte) (addr netip.Addr, ok bool) {
	if len(host) > 39 {
		return addr, false
	}
	v6 := bytes.IndexByte(host, ':') >= 0
	if v6 && (bytes.IndexByte(host, '.') >= 0 || bytes.IndexByte(host, '%') >= 0) {
		return addr, false
	}
	addr, err := netip.ParseAddr(unsafeString(host))
	return addr, err == nil
}

// maskBits reads up to three digits, the first of which is a zero only alone.
func maskBits(p []byte, most int) (bits int, ok bool) {
	if len(p) == 0 || len(p) > 3 || len(p) > 1 && p[0] == '0' {
		return 0, false
	}
	for _, c := range p {
		if c -= '0'; c > 9 {
			return 0, false
		}
		bits = bits*10 + int(c)
	}
	return bits, bits <= most
}

// appendMacaddr reads six pairs of digits with colons or hyphens between.
func appendMacaddr(dst, text []byte) ([]byte, bool) {
	if len(text) != 17 || text[2] != ':' && text[2] != '-' {
		return dst, false
	}
	for i := 0; i < len(text); i += 3 {
		hi, lo := hexDigits[text[i]], hexDigits[text[i+1]]
		if hi|lo > 15 || i+2 < len(text) && text[i+2] != text[2] {
			return dst, false
		}
		dst = append(dst, hi<<4|lo)
	}
	return dst, true
}
