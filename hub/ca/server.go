package ca

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// renewServer is how long before its end a server certificate is replaced.
	renewServer = 30 * 24 * time.Hour
	// renewRoot is the same for the root: a server certificate must not outlive it.
	renewRoot = 400 * 24 * time.Hour
)

// Files in the folder of ServerCertificates.
const (
	rootFile  = "root.pem"
	rootKey   = "root.key"
	rsaFile   = "server-rsa"
	ecdsaFile = "server-ecdsa"
)

// ServerFolder describes the server certificates of "hubscope up".
type ServerFolder struct {
	// Dir holds the certificates and keys; it is made when missing.
	Dir string
	// Names are the host names and addresses that clients use. "localhost",
	// 127.0.0.1 and ::1 are always there.
	Names []string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// ServerCertificates are a hub's own, side by side, with the root that clients
// must trust.
type ServerCertificates struct {
	RSA, ECDSA tls.Certificate
	Root       *x509.Certificate
	// RootFile is the PEM file of the root, to be given to clients.
	RootFile string
}

// Open loads the certificates from the folder. What is missing is made, and what
// ends soon, lacks a name or was signed by another root is made anew. Keys have mode
// 0600. Files are replaced in one step; a crash in between is mended here.
func (f ServerFolder) Open() (*ServerCertificates, error) {
	now := time.Now
	if f.Now != nil {
		now = f.Now
	}
	names := []string{"localhost", "127.0.0.1", "::1"}
	for _, n := range f.Names {
		if n = strings.ToLower(n); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of server certificates: %w", err)
	}
	root, err := f.root(now())
	if err != nil {
		return nil, err
	}
	certs := &ServerCertificates{Root: root.Certificate, RootFile: filepath.Join(f.Dir, rootFile)}
	if certs.RSA, err = f.server(root, rsaFile, RSA2048, names, now()); err != nil {
		return nil, err
	}
	if certs.ECDSA, err = f.server(root, ecdsaFile, P256, names, now()); err != nil {
		return nil, err
	}
	return certs, nil
}

func (f ServerFolder) root(now time.Time) (*Authority, error) {
	certFile, keyFile := filepath.Join(f.Dir, rootFile), filepath.Join(f.Dir, rootKey)
	cert, key, err := load(certFile, keyFile)
	switch {
	case err == nil && now.Before(cert.NotAfter.Add(-renewRoot)):
		return &Authority{Certificate: cert, Key: key}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		// Clients trust this root: it is not for us to replace what we cannot read.
		return nil, fmt.Errorf("root certificate: %w (remove %s and %s to have a new one made)", err, certFile, keyFile)
	}
	root, err := NewAuthority(AuthorityConfig{CommonName: "hubscope local root " + now.UTC().Format("2006-01-02"), NotBefore: now.Add(-clockSkew)})
	if err != nil {
		return nil, err
	}
	// Key first: a key without its certificate is overwritten by the next start.
	if err := os.Remove(certFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace root certificate: %w", err)
	}
	if err := WriteKey(keyFile, root.Key); err != nil {
		return nil, err
	}
	return root, WriteFile(certFile, CertificatePEM(root.Certificate), 0o644)
}

func (f ServerFolder) server(root *Authority, file string, keyType KeyType, names []string, now time.Time) (tls.Certificate, error) {
	certFile, keyFile := filepath.Join(f.Dir, file+".pem"), filepath.Join(f.Dir, file+".key")
	cert, key, err := load(certFile, keyFile)
	if err == nil && serves(cert, root, names, now) {
		leaf := Leaf{Certificate: cert, Key: key}
		return leaf.TLS(), nil
	}
	// Missing, broken or due: nobody but us depends on this one.
	leaf, err := root.Server(ServerConfig{Names: names, KeyType: keyType, NotBefore: now.Add(-clockSkew)})
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := WriteKey(keyFile, leaf.Key); err != nil {
		return tls.Certificate{}, err
	}
	return leaf.TLS(), WriteFile(certFile, leaf.CertificatePEM(), 0o644)
}

func serves(cert *x509.Certificate, root *Authority, names []string, now time.Time) bool {
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter.Add(-renewServer)) || cert.CheckSignatureFrom(root.Certificate) != nil {
		return false
	}
	return !slices.ContainsFunc(names, func(n string) bool { return cert.VerifyHostname(n) != nil })
}

// load reads a certificate and its key, and checks that they belong together.
func load(certFile, keyFile string) (*x509.Certificate, crypto.Signer, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, nil, fmt.Errorf("%s: no certificate in the file", certFile)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certFile, err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: the key of %s is missing", keyFile, certFile)
	}
	if err != nil {
		return nil, nil, err
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s: is not the key of %s", keyFile, certFile)
	}
	return cert, key, nil
}

// WriteKey writes a private key as PKCS #8 PEM with mode 0600, in one step.
func WriteKey(file string, key crypto.Signer) error {
	data, err := KeyPEM(key)
	if err != nil {
		return err
	}
	return WriteFile(file, data, 0o600)
}

// WriteFile replaces a file in one step: readers see the old or the new content,
// also after a crash.
func WriteFile(file string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(file)
	// CreateTemp makes it with mode 0600: a key is never readable, not even shortly.
	t, err := os.CreateTemp(dir, "."+filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer os.Remove(t.Name()) // already renamed when all is well
	_, err = t.Write(data)
	if err == nil {
		err = t.Chmod(mode)
	}
	if err == nil {
		err = t.Sync()
	}
	if e := t.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(t.Name(), file)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
