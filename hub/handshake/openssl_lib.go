package handshake

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// libssl is OpenSSL's libssl and libcrypto, called without cgo.
//
// C never calls Go, never keeps a pointer into Go's memory, and never waits:
// its input and output are memory BIOs. Functions are called by address, for
// purego's typed functions go through reflection.
type libssl struct {
	version string

	initSSL        uintptr // OPENSSL_init_ssl
	versionMajor   uintptr // OPENSSL_version_major
	serverMethod   uintptr // TLS_server_method
	ctxNew         uintptr // SSL_CTX_new
	ctxFree        uintptr // SSL_CTX_free
	ctxCtrl        uintptr // SSL_CTX_ctrl
	ctxOptions     uintptr // SSL_CTX_set_options
	ctxLevel       uintptr // SSL_CTX_set_security_level
	ctxCipherList  uintptr // SSL_CTX_set_cipher_list
	ctxSuites13    uintptr // SSL_CTX_set_ciphersuites
	ctxTickets     uintptr // SSL_CTX_set_num_tickets
	ctxVerify      uintptr // SSL_CTX_set_verify
	ctxVerifyFunc  uintptr // SSL_CTX_set_cert_verify_callback
	ctxCertificate uintptr // SSL_CTX_use_certificate
	ctxKey         uintptr // SSL_CTX_use_PrivateKey

	sslNew       uintptr // SSL_new
	sslFree      uintptr // SSL_free
	sslSetBIO    uintptr // SSL_set_bio
	sslAccept    uintptr // SSL_set_accept_state
	sslSuites    uintptr // SSL_set_cipher_list
	sslHandshake uintptr // SSL_do_handshake
	sslRead      uintptr // SSL_read
	sslWrite     uintptr // SSL_write
	sslShutdown  uintptr // SSL_shutdown
	sslError     uintptr // SSL_get_error
	sslPending   uintptr // SSL_has_pending
	sslVersion   uintptr // SSL_version
	sslCipher    uintptr // SSL_get_current_cipher
	sslCtrl      uintptr // SSL_ctrl
	sslSigType   uintptr // SSL_get_signature_type_nid
	sslSession   uintptr // SSL_get_session
	sslPeer      uintptr // SSL_get0_peer_certificate
	sslPeerChain uintptr // SSL_get_peer_cert_chain
	cipherID     uintptr // SSL_CIPHER_get_protocol_id
	sessionMFL   uintptr // SSL_SESSION_get_max_fragment_length

	bioMem     uintptr // BIO_s_mem
	bioNew     uintptr // BIO_new
	bioFree    uintptr // BIO_free
	bioUpRef   uintptr // BIO_up_ref
	bioWrite   uintptr // BIO_write
	bioRead    uintptr // BIO_read
	bioPending uintptr // BIO_ctrl_pending

	errGet   uintptr // ERR_get_error
	errClear uintptr // ERR_clear_error
	errText  uintptr // ERR_error_string_n

	d2iX509  uintptr // d2i_X509
	i2dX509  uintptr // i2d_X509
	x509Free uintptr // X509_free
	d2iKey   uintptr // d2i_AutoPrivateKey
	keyFree  uintptr // EVP_PKEY_free
	skNum    uintptr // OPENSSL_sk_num
	skValue  uintptr // OPENSSL_sk_value

	cipherName func(iana string) string // OPENSSL_cipher_name
}

// Numbers of OpenSSL's headers; they are part of its binary interface.
const (
	initNoLoadConfig = 0x80       // OPENSSL_INIT_NO_LOAD_CONFIG
	initNoAtexit     = 0x00080000 // OPENSSL_INIT_NO_ATEXIT

	opNoTicket         = 1 << 14
	opNoCompression    = 1 << 17
	opServerPreference = 1 << 22
	opNoRenegotiation  = 1 << 30

	modeMovingBuffer   = 0x02 // SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
	modeNoAutoChain    = 0x08 // SSL_MODE_NO_AUTO_CHAIN
	modeReleaseBuffers = 0x10 // SSL_MODE_RELEASE_BUFFERS

	verifyPeer       = 0x01 // SSL_VERIFY_PEER
	verifyClientOnce = 0x04 // SSL_VERIFY_CLIENT_ONCE

	ctrlMode             = 33
	ctrlSessionCacheMode = 44
	ctrlMaxCertList      = 51
	ctrlChainCert        = 89
	ctrlGroups           = 92
	ctrlSigalgs          = 98
	ctrlDHAuto           = 118
	ctrlMinVersion       = 123
	ctrlMaxVersion       = 124
	ctrlSignatureHash    = 132
	ctrlNegotiatedGroup  = 134

	sslErrorWantRead   = 2
	sslErrorZeroReturn = 6
)

// loadLibSSL loads the library of that name, as dlopen finds it.
func loadLibSSL(name string) (*libssl, error) {
	handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: load %s: %w", errNoLibSSL, name, err)
	}
	l := new(libssl)
	for symbol, at := range l.symbols() {
		// The handle of libssl finds libcrypto's symbols too: it depends on it.
		if *at, err = purego.Dlsym(handle, symbol); err != nil {
			return nil, fmt.Errorf("%s is not an OpenSSL 3 that can be used: %w", name, err)
		}
	}
	var version func(int32) string
	for symbol, fn := range map[string]any{"OpenSSL_version": &version, "OPENSSL_cipher_name": &l.cipherName} {
		at, err := purego.Dlsym(handle, symbol)
		if err != nil {
			return nil, fmt.Errorf("%s is not an OpenSSL 3 that can be used: %w", name, err)
		}
		purego.RegisterFunc(fn, at)
	}
	l.version = version(0)
	// The machine's openssl.cnf is left out: what is served is the hub's policy
	// and nothing else, whatever defaults a distribution sets. This has to be
	// the first call.
	if r, _, _ := purego.SyscallN(l.initSSL, initNoLoadConfig|initNoAtexit, 0); int32(r) != 1 {
		return nil, fmt.Errorf("initialise %s: %w", l.version, l.failure())
	}
	return l, nil
}

func (l *libssl) symbols() map[string]*uintptr {
	return map[string]*uintptr{
		"OPENSSL_init_ssl":                    &l.initSSL,
		"OPENSSL_version_major":               &l.versionMajor,
		"TLS_server_method":                   &l.serverMethod,
		"SSL_CTX_new":                         &l.ctxNew,
		"SSL_CTX_free":                        &l.ctxFree,
		"SSL_CTX_ctrl":                        &l.ctxCtrl,
		"SSL_CTX_set_options":                 &l.ctxOptions,
		"SSL_CTX_set_security_level":          &l.ctxLevel,
		"SSL_CTX_set_cipher_list":             &l.ctxCipherList,
		"SSL_CTX_set_ciphersuites":            &l.ctxSuites13,
		"SSL_CTX_set_num_tickets":             &l.ctxTickets,
		"SSL_CTX_set_verify":                  &l.ctxVerify,
		"SSL_CTX_set_cert_verify_callback":    &l.ctxVerifyFunc,
		"SSL_CTX_use_certificate":             &l.ctxCertificate,
		"SSL_CTX_use_PrivateKey":              &l.ctxKey,
		"SSL_new":                             &l.sslNew,
		"SSL_free":                            &l.sslFree,
		"SSL_set_bio":                         &l.sslSetBIO,
		"SSL_set_accept_state":                &l.sslAccept,
		"SSL_set_cipher_list":                 &l.sslSuites,
		"SSL_do_handshake":                    &l.sslHandshake,
		"SSL_read":                            &l.sslRead,
		"SSL_write":                           &l.sslWrite,
		"SSL_shutdown":                        &l.sslShutdown,
		"SSL_get_error":                       &l.sslError,
		"SSL_has_pending":                     &l.sslPending,
		"SSL_version":                         &l.sslVersion,
		"SSL_get_current_cipher":              &l.sslCipher,
		"SSL_ctrl":                            &l.sslCtrl,
		"SSL_get_signature_type_nid":          &l.sslSigType,
		"SSL_get_session":                     &l.sslSession,
		"SSL_get0_peer_certificate":           &l.sslPeer,
		"SSL_get_peer_cert_chain":             &l.sslPeerChain,
		"SSL_CIPHER_get_protocol_id":          &l.cipherID,
		"SSL_SESSION_get_max_fragment_length": &l.sessionMFL,
		"BIO_s_mem":                           &l.bioMem,
		"BIO_new":                             &l.bioNew,
		"BIO_free":                            &l.bioFree,
		"BIO_up_ref":                          &l.bioUpRef,
		"BIO_write":                           &l.bioWrite,
		"BIO_read":                            &l.bioRead,
		"BIO_ctrl_pending":                    &l.bioPending,
		"ERR_get_error":                       &l.errGet,
		"ERR_clear_error":                     &l.errClear,
		"ERR_error_string_n":                  &l.errText,
		"d2i_X509":                            &l.d2iX509,
		"i2d_X509":                            &l.i2dX509,
		"X509_free":                           &l.x509Free,
		"d2i_AutoPrivateKey":                  &l.d2iKey,
		"EVP_PKEY_free":                       &l.keyFree,
		"OPENSSL_sk_num":                      &l.skNum,
		"OPENSSL_sk_value":                    &l.skValue,
	}
}

// errWantInput says that OpenSSL has used up its input and waits for more.
var errWantInput = errors.New("openssl: more input needed")

// An sslError is a failure that OpenSSL reports.
type sslError struct {
	codes []uint64 // of the error queue, the cause first
	text  string
}

func (e *sslError) Error() string { return "openssl: " + e.text }

const sslLib = 20 // ERR_LIB_SSL

// reason returns the first reason that libssl gives, 0 for none. What libcrypto
// stumbled on comes before it in the queue.
func (e *sslError) reason() int {
	for _, code := range e.codes {
		if code>>23&0xff == sslLib {
			return int(code & 0x7fffff)
		}
	}
	return 0
}

// do runs an operation on a session: the handshake, a read, a write, the
// shutdown. OpenSSL's errors are in a queue of the thread, so nothing else may
// run on it in between, and what others have left there must go first: else
// SSL_get_error takes it for ours.
func (l *libssl) do(fn, ssl uintptr, p unsafe.Pointer, n int) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	purego.SyscallN(l.errClear)
	r, _, _ := purego.SyscallN(fn, ssl, uintptr(p), uintptr(n))
	if int32(r) > 0 {
		return int(int32(r)), nil
	}
	why, _, _ := purego.SyscallN(l.sslError, ssl, r)
	switch int32(why) {
	case sslErrorWantRead:
		return 0, errWantInput
	case sslErrorZeroReturn:
		return 0, io.EOF
	}
	return 0, l.failure()
}

// check calls a function that returns an int, positive when it has succeeded.
//
//go:uintptrescapes
func (l *libssl) check(fn uintptr, args ...uintptr) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	purego.SyscallN(l.errClear)
	r, _, _ := purego.SyscallN(fn, args...)
	if int32(r) <= 0 {
		return 0, l.failure()
	}
	return int(int32(r)), nil
}

// object calls a function that returns a pointer to a new object.
//
//go:uintptrescapes
func (l *libssl) object(fn uintptr, args ...uintptr) (uintptr, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	purego.SyscallN(l.errClear)
	r, _, _ := purego.SyscallN(fn, args...)
	if r == 0 {
		return 0, l.failure()
	}
	return r, nil
}

// failure takes everything out of the thread's error queue. The caller holds
// the thread.
func (l *libssl) failure() error {
	e := &sslError{text: "unknown cause"}
	for {
		code, _, _ := purego.SyscallN(l.errGet)
		if code == 0 {
			return e
		}
		// libssl's own words say what it was about, libcrypto's what failed in it.
		if len(e.codes) == 0 || e.reason() == 0 && code>>23&0xff == sslLib {
			var text [256]byte
			purego.SyscallN(l.errText, code, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
			e.text = cText(text[:])
		}
		e.codes = append(e.codes, uint64(code))
	}
}

// setText calls a function whose last argument is a text.
func (l *libssl) setText(s string, fn uintptr, args ...uintptr) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	text := &append([]byte(s), 0)[0]
	pin.Pin(text)
	_, err := l.check(fn, append(args, uintptr(unsafe.Pointer(text)))...)
	return err
}

// cText returns the text up to a zero byte.
func cText(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// parse gives DER to one of the d2i functions and returns the object.
func (l *libssl) parse(fn uintptr, der []byte) (uintptr, error) {
	if len(der) == 0 {
		return 0, errors.New("empty DER")
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&der[0])
	// The function moves the pointer behind the object, where Go has none: so
	// it is a number to the garbage collector.
	at := uintptr(unsafe.Pointer(&der[0]))
	return l.object(fn, 0, uintptr(unsafe.Pointer(&at)), uintptr(len(der)))
}

// encode returns a certificate as DER.
func (l *libssl) encode(x509 uintptr) ([]byte, error) {
	n, err := l.check(l.i2dX509, x509, 0)
	if err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	der := make([]byte, n)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&der[0])
	at := uintptr(unsafe.Pointer(&der[0]))
	if _, err = l.check(l.i2dX509, x509, uintptr(unsafe.Pointer(&at))); err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	return der, nil
}
