package check

import (
	"regexp"
	"strconv"
)

// exitCode is how PostgreSQL tells what became of a program, in the error's detail.
var exitCode = regexp.MustCompile(`\b[0-9]{1,3}\b`)

// CurlExit reads curl's exit code from the detail of an error 38000: 127 where the
// shell did not find it, which the server says in words.
func CurlExit(detail string) int {
	n, err := strconv.Atoi(exitCode.FindString(detail))
	if err != nil {
		return 127
	}
	return n
}

// curlExits is what an exit code of curl on the database host means, and what to do.
var curlExits = map[int][2]string{
	1:   {"this curl speaks no http", "Install a curl with http and https on the database host."},
	2:   {"this curl does not know an option", "Install a newer curl on the database host (7.52 or later)."},
	5:   {"the name of the HTTP proxy is unknown", "See http_proxy and https_proxy in the environment of the database server."},
	6:   {"the name of the store's host is unknown", "Have DNS on the database host know the store's endpoint; or give an address in endpoint= that it knows."},
	7:   {"no connection to the store", "Open the way from the database host to the store: firewall, security group, route. An endpoint on 127.0.0.1 is another machine there."},
	22:  {"the store refuses the pre-signed URL", "Compare with check store_presigned: if that is good, something between the database host and the store changes requests, or a bucket policy names source addresses."},
	28:  {"the store did not answer in time", "Open the way from the database host to the store: a firewall drops the packets."},
	35:  {"TLS failed", "See which TLS versions curl on the database host and the store have in common."},
	47:  {"the store redirects", "Name the bucket's own region and endpoint in the setting store."},
	51:  {"the certificate is for another host", "Use the name in the store's certificate in endpoint=."},
	52:  {"the store closed the connection", "See whether endpoint= has the right scheme, http or https."},
	56:  {"the connection to the store broke", "See whether something between the database host and the store ends connections."},
	60:  {"the certificate is not trusted", "Install the store's root certificate on the database host, or its ca-certificates package."},
	77:  {"curl has no root certificates", "Install ca-certificates on the database host."},
	126: {"curl may not be run", "Let the operating system's user of the database server run curl."},
	127: {"curl was not found", "Install curl on the database host, in the PATH of the database server."},
}

// CurlFailed makes a result of curl's exit code.
func CurlFailed(code int) Result {
	means, known := curlExits[code]
	if !known {
		return Bad("curl on the database host ends with exit code %d", code).
			With("See EXIT CODES in the manual of curl, and the database server's log.")
	}
	return Bad("%s (exit code %d of curl on the database host)", means[0], code).With("%s", means[1])
}
