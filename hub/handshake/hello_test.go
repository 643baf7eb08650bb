package handshake

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/cryptobyte"
)

// offer builds ClientHello messages for tests.
type offer struct {
	legacy     uint16
	suites     []uint16
	extensions []extension
}

type extension struct {
	id   uint16
	data []byte
}

func (o offer) message() []byte {
	var b cryptobyte.Builder
	b.AddUint8(handshakeClientHello)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(o.legacy)
		b.AddBytes(make([]byte, 32))
		b.AddUint8(0)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(uint16s(o.suites)) })
		b.AddBytes([]byte{1, 0})
		if o.extensions == nil {
			return
		}
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, e := range o.extensions {
				b.AddUint16(e.id)
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.data) })
			}
		})
	})
	return b.BytesOrPanic()
}

func uint16s(values []uint16) []byte {
	var b []byte
	for _, v := range values {
		b = append(b, byte(v>>8), byte(v))
	}
	return b
}

func list8(values ...uint16) []byte {
	b := uint16s(values)
	return append([]byte{byte(len(b))}, b...)
}

func list16(values ...uint16) []byte {
	b := uint16s(values)
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}

func alpn(values ...string) []byte {
	var b []byte
	for _, v := range values {
		b = append(b, byte(len(v)))
		b = append(b, v...)
	}
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}

func sni(name string) []byte {
	b := append([]byte{0, byte(len(name) >> 8), byte(len(name))}, name...)
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}

// chromeOffer is the ClientHello of FoxIO's worked example, GREASE included.
func chromeOffer() offer {
	return offer{legacy: VersionTLS12,
		suites: []uint16{0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		extensions: []extension{
			{0x8a8a, nil}, {0x0000, sni("example.com")}, {0x0017, nil}, {0xff01, []byte{0}}, {0x000a, list16(0x4a4a, 29, 23, 24)},
			{0x000b, []byte{1, 0}}, {0x0023, nil}, {0x0010, alpn("h2", "http/1.1")}, {0x0005, []byte{1, 0, 0, 0, 0}},
			{0x000d, list16(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)},
			{0x0012, nil}, {0x0033, []byte{0, 0}}, {0x002d, []byte{1, 1}}, {0x002b, list8(0x6a6a, VersionTLS13, VersionTLS12)},
			{0x001b, []byte{2, 0, 2}}, {0x4469, nil}, {0x3a3a, []byte{0}}, {0x0015, make([]byte, 100)},
		}}
}

func TestJA4(t *testing.T) {
	// The first value is published with its whole derivation; the ALPN rules
	// have their examples in the same document.
	base := func(data []byte) offer {
		o := offer{legacy: VersionTLS12, suites: []uint16{0xc02f}, extensions: []extension{{extALPN, data}}}
		if data == nil {
			o.extensions = nil
		}
		return o
	}
	tests := []struct {
		name string
		o    offer
		want string // all of it, or what comes before the first underscore
	}{
		{"chrome", chromeOffer(), "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"no extensions", base(nil), "t12i010000_" + ja4Sum("c02f") + "_000000000000"},
		{"ALPN ab", base(alpn("\xab")), "t12i0101ab"},
		{"ALPN abcd", base(alpn("\xab\xcd")), "t12i0101ad"},
		{"ALPN 30ab", base(alpn("0\xab")), "t12i01013b"},
		{"ALPN 3031abcd", base(alpn("01\xab\xcd")), "t12i01013d"},
		{"ALPN 30abcd31", base(alpn("0\xab\xcd1")), "t12i010101"},
		{"ALPN 20", base(alpn(" ")), "t12i010120"},
		{"ALPN 2061", base(alpn(" a")), "t12i010121"},
		{"ALPN 6120", base(alpn("a ")), "t12i010160"},
		{"ALPN one character", base(alpn("x")), "t12i0101xx"},
		{"ALPN http/1.1", base(alpn("http/1.1")), "t12i0101h1"},
		{"ALPN empty value", base([]byte{0, 1, 0}), "t12i010100"},
		{"SNI and ALPN alone leave nothing to hash", offer{legacy: VersionTLS10, suites: []uint16{0x2f},
			extensions: []extension{{0, sni("a")}, {16, alpn("h2")}}}, "t10d0102h2_" + ja4Sum("002f") + "_000000000000"},
		{"versions by number, not by place", offer{legacy: VersionTLS12, suites: []uint16{0x2f},
			extensions: []extension{{43, list8(VersionTLS12, VersionTLS13)}}}, "t13i010100"},
		{"more than 99 suites", offer{legacy: VersionTLS11, suites: seq(1, 150)}, "t11i990000"},
		{"SSL 3.0", offer{legacy: VersionSSL3, suites: []uint16{0x2f}}, "s3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ParseHello(tt.o.message())
			if err != nil {
				t.Fatal(err)
			}
			got := h.JA4
			if !strings.Contains(tt.want, "_") {
				got, _, _ = strings.Cut(got, "_")
			}
			if tt.want == "s3" {
				got = got[1:3]
			}
			if got != tt.want {
				t.Errorf("JA4 want %q, got %q", tt.want, got)
			}
		})
	}
}

func ja4Sum(text string) string { return string(appendJA4Hash(nil, []byte(text))) }

func seq(from, n int) []uint16 {
	s := make([]uint16, n)
	for i := range s {
		s[i] = uint16(from + i)
	}
	return s
}

func TestParseHello(t *testing.T) {
	h, err := ParseHello(chromeOffer().message())
	if err != nil {
		t.Fatal(err)
	}
	want := &Hello{
		LegacyVersion: VersionTLS12,
		Versions:      []uint16{VersionTLS13, VersionTLS12},
		Suites:        []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		Groups:        []uint16{29, 23, 24},
		Signatures:    []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
		ServerName:    "example.com",
		ALPN:          []string{"h2", "http/1.1"},
		JA4:           "t13d1516h2_8daaf6152771_e5627efa2ab1",
		hasSNI:        true, hasPoints: true, uncompress: true,
	}
	if diff := cmp.Diff(want, h, cmp.AllowUnexported(Hello{})); diff != "" {
		t.Errorf("hello (-want +got)\n%s", diff)
	}

	for code, want := range map[byte]int{1: 512, 2: 1024, 3: 2048, 4: 4096, 0: 0, 5: 0} {
		h, err := ParseHello(offer{legacy: VersionTLS12, suites: []uint16{0x2f}, extensions: []extension{{extMaxFragmentLength, []byte{code}}}}.message())
		if err != nil || h.MaxFragmentLength != want {
			t.Errorf("max_fragment_length %d: want %d, got %v, %v", code, want, h, err)
		}
	}
	h, err = ParseHello(offer{legacy: VersionTLS12, suites: []uint16{0x2f}, extensions: []extension{{0, sni("a\x00\xffb")}}}.message())
	if err != nil || h.ServerName != "a??b" {
		t.Errorf("a server name that is no text: want a??b, got %q, %v", h.ServerName, err)
	}
}

func TestParseHelloRefuses(t *testing.T) {
	good := chromeOffer().message()
	for n := range good {
		if _, err := ParseHello(good[:n]); !errors.Is(err, errHello) {
			t.Fatalf("first %d of %d bytes: want a malformed ClientHello, got %v", n, len(good), err)
		}
	}
	if _, err := ParseHello(append(slices.Clone(good), 0)); !errors.Is(err, errHello) {
		t.Errorf("data behind: want a malformed ClientHello, got %v", err)
	}
	for name, e := range map[string][]extension{
		"twice":            {{extSupportedGroups, list16(29)}, {extSupportedGroups, list16(29)}},
		"odd groups":       {{extSupportedGroups, []byte{0, 3, 0, 29, 0}}},
		"no versions":      {{extSupportedVersions, []byte{0}}},
		"long ALPN":        {{extALPN, []byte{0, 2, 9, 'h'}}},
		"no point formats": {{extPointFormats, []byte{0}}},
	} {
		if _, err := ParseHello(offer{legacy: VersionTLS12, suites: []uint16{0x2f}, extensions: e}.message()); !errors.Is(err, errHello) {
			t.Errorf("%s: want a malformed ClientHello, got %v", name, err)
		}
	}
}

// script is a connection that yields fixed bytes in chunks and then an error.
type script struct {
	net.Conn
	data  []byte
	chunk int
	end   error
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, s.end
	}
	n := copy(p[:min(len(p), s.chunk)], s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// inRecords cuts a message into records of at most n bytes.
func inRecords(message []byte, n int) []byte {
	var b []byte
	for len(message) > 0 {
		k := min(n, len(message))
		b = append(b, recordHandshake, 3, 1, byte(k>>8), byte(k))
		b = append(b, message[:k]...)
		message = message[k:]
	}
	return b
}

func TestPeek(t *testing.T) {
	message := chromeOffer().message()
	long := chromeOffer()
	long.extensions = append(long.extensions, extension{0x5555, make([]byte, 9000)})
	for name, wire := range map[string][]byte{
		"one record":      inRecords(message, 1<<14),
		"small records":   inRecords(message, 7),
		"long":            inRecords(long.message(), 1<<14),
		"long, in pieces": inRecords(long.message(), 1000),
	} {
		for _, chunk := range []int{1, 3, 1 << 16} {
			behind := []byte("what comes behind stays unread")
			all := append(slices.Clone(wire), behind...)
			tr := NewTransport(&script{data: slices.Clone(all), chunk: chunk, end: io.EOF})
			h, kind, err := Peek(tr)
			if err != nil || kind != KindTLS || h.ServerName != "example.com" {
				t.Fatalf("%s by %d: got %v, %v, %v", name, chunk, h, kind, err)
			}
			if got, _ := io.ReadAll(tr); !bytes.Equal(all, got) {
				t.Errorf("%s by %d: %d bytes were sent, %d are replayed", name, chunk, len(all), len(got))
			}
		}
	}
}

func TestPeekOtherThings(t *testing.T) {
	ssl2 := []byte{0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10, 0, 0, 0x2f, 0, 0, 0x35, 1, 0, 0x80, 0, 0, 0x0a, 0, 0, 5, 0, 0, 4, 0, 0, 9}
	ssl2 = append(ssl2, make([]byte, 16)...)
	tests := []struct {
		name string
		data []byte
		kind Kind
		err  error
	}{
		{"nothing", nil, KindNothing, io.EOF},
		{"one byte", []byte{22}, KindTLS, io.EOF},
		{"half a hello", inRecords(chromeOffer().message(), 1<<14)[:100], KindTLS, io.EOF},
		{"http", []byte("GET / HTTP/1.1\r\n\r\n"), KindHTTP, errNotTLS},
		{"http post", []byte("POST /x HTTP/1.1\r\n\r\n"), KindHTTP, errNotTLS},
		{"mqtt 3.1.1", []byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"), KindMQTT, errNotTLS},
		{"mqtt 3.1", []byte("\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a"), KindMQTT, errNotTLS},
		{"mqtt, long", []byte("\x10\x8d\x01\x00\x04MQTT\x05"), KindMQTT, errNotTLS},
		{"amqp", []byte("AMQP\x03\x01\x00\x00"), KindAMQP, errNotTLS},
		{"ssh", []byte("SSH-2.0-OpenSSH_9.2\r\n"), KindSSH, errNotTLS},
		{"proxy v1", []byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), KindProxy, errNotTLS},
		{"proxy v2", []byte("\r\n\r\n\x00\r\nQUIT\n"), KindProxy, errNotTLS},
		{"ssl 2.0", ssl2, KindSSL2, errNotTLS},
		{"tls alert", []byte{21, 3, 1, 0, 2, 2, 40}, KindTLSOther, errNotTLS},
		{"server hello", []byte{22, 3, 1, 0, 4, 2, 0, 0, 0}, KindTLS, errHello},
		{"empty record", []byte{22, 3, 1, 0, 0, 1}, KindTLS, errHello},
		{"mixed records", append(inRecords(chromeOffer().message()[:50], 50), 23, 3, 3, 0, 1, 0), KindTLS, errHello},
		{"record too long", []byte{22, 3, 1, 0x40, 1, 1, 0, 0}, KindTLS, errTooLong},
		{"message too long", []byte{22, 3, 1, 0, 4, 1, 0, 0x40, 0}, KindTLS, errTooLong},
		{"thousands of records", inRecords(append([]byte{1, 0, 0x3f, 0}, make([]byte, 0x3f00)...), 1), KindTLS, errTooLong},
		{"garbage", []byte{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3}, KindUnknown, errNotTLS},
		{"zeros", make([]byte, 64), KindUnknown, errNotTLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, chunk := range []int{1, 1 << 16} {
				tr := NewTransport(&script{data: slices.Clone(tt.data), chunk: chunk, end: io.EOF})
				h, kind, err := Peek(tr)
				if kind != tt.kind || !errors.Is(err, tt.err) {
					t.Errorf("by %d: want %v, %v, got %v, %v", chunk, tt.kind, tt.err, kind, err)
				}
				if (h != nil) != (tt.kind == KindSSL2) {
					t.Errorf("hello: %v", h)
				}
				if h != nil {
					if diff := cmp.Diff([]uint16{0x2f, 0x35, 0x0a, 5, 4, 9}, h.Suites); diff != "" {
						t.Errorf("suites of the SSL 2.0 message (-want +got)\n%s", diff)
					}
				}
			}
		})
	}
}

// FuzzPeek: how the bytes are cut by the network changes nothing, and all that
// was read is given back.
func FuzzPeek(f *testing.F) {
	f.Add(inRecords(chromeOffer().message(), 1<<14), 5)
	f.Add(inRecords(chromeOffer().message(), 9), 1)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 2)
	f.Add([]byte{0x80, 0x2e, 1, 3, 1}, 2)
	f.Fuzz(func(t *testing.T, data []byte, chunk int) {
		whole := NewTransport(&script{data: slices.Clone(data), chunk: 1 << 20, end: io.EOF})
		h1, k1, err1 := Peek(whole)
		cut := NewTransport(&script{data: slices.Clone(data), chunk: max(chunk, 1), end: io.EOF})
		h2, k2, err2 := Peek(cut)
		if diff := cmp.Diff(h1, h2, cmp.AllowUnexported(Hello{})); diff != "" || k1 != k2 || (err1 == nil) != (err2 == nil) {
			t.Errorf("cut otherwise: %v %v, %v %v\n%s", k1, err1, k2, err2, diff)
		}
		for _, tr := range []*Transport{whole, cut} {
			if n := int(tr.BytesRead()); n > maxPeek {
				t.Errorf("read %d bytes", n)
			}
			if got, _ := io.ReadAll(tr); !bytes.Equal(got, data) {
				t.Errorf("replay differs")
			}
		}
	})
}

// FuzzParseHello: what crypto/tls takes for a ClientHello, we do too, and read
// the same from it.
func FuzzParseHello(f *testing.F) {
	f.Add(chromeOffer().message())
	f.Add(offer{legacy: VersionTLS12, suites: []uint16{0x2f}}.message())
	for _, config := range []*tls.Config{
		{ServerName: "a.example", NextProtos: []string{"mqtt"}}, {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12},
	} {
		f.Add(clientHello(f, config))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		h, err := ParseHello(message)
		if err == nil {
			for _, lists := range [][]uint16{h.Suites, h.Groups, h.Signatures, h.Versions} {
				if slices.ContainsFunc(lists, isGREASE) && h.LegacyVersion != lists[0] {
					t.Errorf("GREASE left: %v", lists)
				}
			}
			if len(h.JA4) != 36 {
				t.Errorf("JA4 %q", h.JA4)
			}
			for _, p := range []*Policy{legacyPolicy, strictPolicy, tls13Policy} {
				if v := p.Judge(h, anyCertificates); v.OK != (v.Reason == "") || v.OK && len(v.Suites) == 0 {
					t.Errorf("verdict %+v", v)
				}
			}
		}
		if len(message) < 4 || len(message) > MaxHello || len(message) != 4+(int(message[1])<<16|int(message[2])<<8|int(message[3])) {
			return // crypto/tls takes the message and leaves what follows
		}
		var info *tls.ClientHelloInfo
		conn := tls.Server(&script{data: inRecords(message, 1<<14), chunk: 1 << 20, end: io.EOF}, &tls.Config{
			GetConfigForClient: func(chi *tls.ClientHelloInfo) (*tls.Config, error) { info = chi; return nil, io.EOF },
		})
		conn.Handshake()
		if info == nil {
			return
		}
		if err != nil {
			t.Fatalf("crypto/tls reads it, we do not: %v", err)
		}
		same := func(what string, want []uint16, got []uint16) {
			want = slices.DeleteFunc(slices.Clone(want), isGREASE)
			if !slices.Equal(want, got) {
				t.Errorf("%s: want %x, got %x", what, want, got)
			}
		}
		same("suites", info.CipherSuites, h.Suites)
		same("groups", numbers(info.SupportedCurves), h.Groups)
		same("signatures", numbers(info.SignatureSchemes), h.Signatures)
		if info.ServerName != "" && printable([]byte(info.ServerName)) != h.ServerName {
			t.Errorf("server name: want %q, got %q", info.ServerName, h.ServerName)
		}
	})
}

func numbers[T ~uint16](values []T) []uint16 {
	s := make([]uint16, len(values))
	for i, v := range values {
		s[i] = uint16(v)
	}
	return s
}

// clientHello returns the message that crypto/tls sends.
func clientHello(tb testing.TB, config *tls.Config) []byte {
	tb.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		tls.Client(theirs, config).Handshake()
		theirs.Close()
	}()
	tr := NewTransport(ours)
	if _, _, err := Peek(tr); err != nil {
		tb.Fatal(err)
	}
	return slices.Clone(tr.replay[recordHeaderLen:])
}

func TestNames(t *testing.T) {
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if got := SuiteName(s.ID); got != s.Name {
			t.Errorf("suite %04x: want %s, got %s", s.ID, s.Name, got)
		}
	}
	for id := range suiteKinds {
		if !strings.HasPrefix(SuiteName(id), "TLS_") {
			t.Errorf("suite %04x has no name", id)
		}
	}
	for _, tt := range []struct{ got, want string }{
		{SuiteName(0x009f), "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"},
		{SuiteName(0xc024), "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"},
		{SuiteName(0x5600), "TLS_FALLBACK_SCSV"},
		{SuiteName(0xfeed), "0xFEED"},
		{GroupName(4588), "X25519MLKEM768"},
		{GroupName(23), "secp256r1"},
		{GroupName(257), "ffdhe3072"},
		{GroupName(22), "secp256k1"},
		{GroupName(0xeeee), "0xEEEE"},
		{SignatureName(0x0804), "rsa_pss_rsae_sha256"},
		{SignatureName(0x0301), "rsa_pkcs1_sha224"},
		{SignatureName(0x0202), "dsa_sha1"},
		{SignatureName(0xfe0b), "0xFE0B"},
		{NewAlert(48).String(), "unknown_ca"},
		{NewAlert(0).String(), "close_notify"},
		{NewAlert(200).String(), "200"},
		{Alert(0).String(), ""},
		{VersionName(VersionTLS11), "1.1"},
		{VersionName(0x7f1c), "0x7F1C"},
	} {
		if tt.got != tt.want {
			t.Errorf("want %s, got %s", tt.want, tt.got)
		}
	}
	if n := len(suiteNames); n < 350 {
		t.Errorf("only %d suites have a name", n)
	}
}

func TestKeepsLittle(t *testing.T) {
	// The replay buffer of an idle connection must be gone.
	wire := inRecords(chromeOffer().message(), 1<<14)
	tr := NewTransport(&script{data: wire, chunk: 1 << 16, end: io.EOF})
	if _, _, err := Peek(tr); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(tr, make([]byte, len(wire))); err != nil {
		t.Fatal(err)
	}
	if tr.replay != nil {
		t.Error("the peeked bytes are kept")
	}
}
