// Package handshake owns a connection from accept to the first ReadyForQuery:
// TLS with the client, the startup packet, the upstream connection and its TLS,
// and the relay of the authentication.
//
// It authenticates nobody and stores no secret: the server's requests and the
// client's answers are relayed as they are. It changes one message only, the
// list of SASL mechanisms (see below). It never forwards what the client sends
// beyond the answers that the server asked for: those bytes stay in
// Established.ClientBuffered for the session.
//
// The life of one connection:
//
//  1. The first packets are read: SSLRequest, GSSENCRequest (always declined),
//     direct TLS, CancelRequest, StartupMessage. A packet that is none of these
//     gets the answer that PostgreSQL would give; bytes that are no packet at
//     all get none.
//  2. A CancelRequest is handed to the caller, which knows its own sessions and
//     may use ForwardCancel.
//  3. The upstream is dialled, TLS is negotiated as libpq's sslmode says, and
//     the startup packet is sent exactly as it was received, with its minor
//     version and its _pq_ options.
//  4. The upstream's messages are relayed until ReadyForQuery. A second
//     goroutine reads the client's answers, one for each request, and notices
//     when the client leaves. It ends before Accept returns.
//  5. The deadlines are lifted and the two connections are handed over.
//
// # Time limits
//
// Everything before AuthenticationOk is bounded by Config.StartupTimeout. A
// client that has not sent its startup packet by then is disconnected without
// a word, as PostgreSQL does it; later it gets FATAL 57014 "canceling
// authentication due to timeout". After AuthenticationOk there is no limit,
// because a backend may legitimately wait there, but the client is watched.
//
// # Errors of the proxy's own
//
// All are FATAL:
//
//   - 57P03, "could not connect to upstream": unreachable. libpq goes on to the
//     next host of its list after this code, as it does after a refused
//     connection.
//   - 08006: the upstream was reached, but TLS failed, it went away, or it did
//     not answer in time.
//   - 08P01: one side broke the protocol.
//   - 0A000: protocol version 2 or other than 3.
//   - 28000: the client must use TLS, or channel binding is in the way.
//   - 57014: the client took too long to answer.
//   - 57P01: the proxy is shutting down.
//
// What the client is told never contains addresses, paths or certificate
// contents; the error that Accept returns does.
//
// # Retries of sslmode allow and prefer
//
// As in libpq, prefer goes on without TLS when the TLS handshake fails, and
// both modes try the other way when the upstream refuses. A refusal counts only
// as the upstream's first answer: once the client has seen a request there is
// no way back. libpq would also try again after a wrong password.
//
// # SCRAM and channel binding
//
// SCRAM-SHA-256-PLUS binds the authentication to the certificate of the TLS
// connection that the client sees. Through a proxy with TLS on both sides it
// holds only where both show the same certificate. So the -PLUS mechanisms are
// kept in the list when both legs have TLS and one certificate, and else are
// removed. A client that then says that it could bind (gs2 flag y) would be
// taken by the server for the victim of a downgrade; it gets an error that
// names the remedies: channel_binding=disable at the client, the server's
// certificate and key for the proxy, or no TLS on one leg. A client that
// insists (channel_binding=require) refuses by itself when the mechanism is not
// in the list, and says so.
//
// # What cannot be relayed
//
// Methods that look at the connection see the proxy's: peer authentication
// sees the operating system user of the proxy, cert sees the certificate of
// Config.UpstreamTLS, pg_hba.conf sees the address of the proxy. Kerberos
// tickets are for a host name: the client must name the server's.
// SCRAM, MD5, password, LDAP, RADIUS, PAM and OAuth work unchanged.
//
// To debug it, run with the log level debug, and compare with a direct
// connection: every message but those named here is the server's own.
package handshake
