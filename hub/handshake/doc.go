// Package handshake is the front of every TLS port: it reads one ClientHello,
// keeps what the client offered, lets the caller decide by it, and replays the
// bytes into a TLS engine. Whatever happens, it reports what happened.
//
//	acceptor, err := handshake.New(handshake.Config{})
//	conn, report := acceptor.Accept(tcp, func(h *handshake.Hello) handshake.Choice {
//		return handshake.Choice{Policy: policy, Certificates: certs}
//	})
//	if conn == nil {
//		// report.Failure says why in plain words and with a stable reason,
//		// report.Hello what the client offered, if it got that far.
//	}
//
// The parts can be used alone: [Peek] reads a ClientHello or names what came
// instead, [ParseHello] decodes one, [Policy.Judge] tells whether a policy
// would serve it, [Hello.JA4] is its fingerprint, and [SuiteName], [GroupName],
// [SignatureName] and [Alert] speak IANA's names.
//
// Policy is set in each engine's own configuration too: a ClientHello that is
// read wrongly here can be described wrongly but never weakens a connection.
//
// There are two engines. crypto/tls serves what it can. OpenSSL 3, the system's
// libssl called without cgo, serves what it lacks and a client asks for: the two
// recommended suites with CBC and SHA-384, max_fragment_length, and on legacy
// hubs finite-field Diffie-Hellman, RSA_WITH_AES_256_CBC_SHA256 and SHA-1
// signatures. [Acceptor.SecondEngine] tells whether there is one; without it the
// rest is served all the same, and [Report.Missing] names what was wanted.
//
// The engines request a client certificate and verify that the client holds its
// key. They do not judge the certificate: a device with an expired or unknown
// one must finish the handshake so that it can be named. That judgement is
// hub/registry's.
//
// TLS sessions are not resumed: no tickets are issued. Every connection shows
// its certificate, and a cluster needs no shared ticket keys.
package handshake
