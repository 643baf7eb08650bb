package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"
)

// Role says what a client may do.
type Role string

// The roles.
const (
	// Reader runs queries, and sees and cancels its own.
	Reader Role = "reader"
	// Admin also sees and cancels those of others, and reads the metrics.
	Admin Role = "admin"
)

// Identity is who makes a request.
type Identity struct {
	// Name of the token or certificate entry; "local" where none is asked for.
	Name string
	Role Role
	// Hubs restricts every table to these hubs; nil does not.
	Hubs []string
}

// Grant is an entry of the access file: a bearer token or a client certificate,
// and what its holder may do.
type Grant struct {
	Name string   `yaml:"name" json:"name"`
	Role Role     `yaml:"role" json:"role"`
	Hubs []string `yaml:"hubs,omitempty,flow" json:"hubs,omitempty"`
	// SHA256 is the hash of the token in hex. A token has 130 random bits, so
	// that no slow hash is needed.
	SHA256 string `yaml:"sha256,omitempty" json:"-"`
	// CommonName is the subject's common name of a client certificate.
	CommonName string     `yaml:"common_name,omitempty" json:"commonName,omitempty"`
	Created    time.Time  `yaml:"created,omitempty" json:"created"`
	Expires    *time.Time `yaml:"expires,omitempty" json:"expires,omitempty"`
}

var grantName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// Validate says what is wrong with an entry.
func (g *Grant) Validate() error {
	hash, err := hex.DecodeString(g.SHA256)
	switch {
	case !grantName.MatchString(g.Name):
		return fmt.Errorf("name %q: want 1 to 64 letters, digits, dots, @, hyphens and underscores", g.Name)
	case g.Name == localName:
		return fmt.Errorf("name %q is that of requests without a token", g.Name)
	case g.Role != Reader && g.Role != Admin:
		return fmt.Errorf("%s: role %q: want %s or %s", g.Name, g.Role, Reader, Admin)
	case g.Role == Admin && g.Hubs != nil:
		return fmt.Errorf("%s: an admin sees the queries of all; only a reader can be restricted to hubs", g.Name)
	case g.Hubs != nil && (len(g.Hubs) == 0 || slices.Contains(g.Hubs, "")):
		return fmt.Errorf("%s: hubs are names, at least one; leave the key out for all hubs", g.Name)
	case (g.SHA256 == "") == (g.CommonName == ""):
		return fmt.Errorf("%s: want either sha256, of a token, or common_name, of a client certificate", g.Name)
	case g.SHA256 != "" && (err != nil || len(hash) != sha256.Size):
		return fmt.Errorf("%s: sha256 is no hash: 64 hexadecimal digits", g.Name)
	}
	return nil
}

// accessFile is the form of the file.
type accessFile struct {
	Tokens []Grant `yaml:"tokens"`
}

const accessHeader = `# Who may ask the query service: bearer tokens (only their hashes) and client
# certificates by common name. Managed by "hubscope token"; a change acts within
# a second.
`

// readAccess reads a file of grants; none is an empty list.
func readAccess(path string) ([]Grant, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("tokens: others may open %s (mode %04o); chmod 600 it", path, mode)
	}
	d := yaml.NewDecoder(io.LimitReader(f, 4<<20))
	d.KnownFields(true)
	var file accessFile
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("tokens: %s: %w", path, err)
	}
	names, hashes, cns := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range file.Tokens {
		g := &file.Tokens[i]
		g.SHA256 = strings.ToLower(g.SHA256)
		if err := g.Validate(); err != nil {
			return nil, fmt.Errorf("tokens: %s: %w", path, err)
		}
		if names[g.Name] || g.SHA256 != "" && hashes[g.SHA256] || g.CommonName != "" && cns[g.CommonName] {
			return nil, fmt.Errorf("tokens: %s: %s is there twice", path, g.Name)
		}
		names[g.Name], hashes[g.SHA256], cns[g.CommonName] = true, true, true
	}
	return file.Tokens, nil
}

// writeAccess replaces the file at once, readable for its owner only.
func writeAccess(path string, grants []Grant) error {
	var b bytes.Buffer
	b.WriteString(accessHeader)
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(accessFile{grants}); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// AccessFile is a file of grants as the command line edits it.
type AccessFile string

// List returns the entries, in the file's order.
func (f AccessFile) List() ([]Grant, error) { return readAccess(string(f)) }

// Add appends an entry. Unless it is for a certificate, a token is made and
// returned; only its hash is kept.
func (f AccessFile) Add(g Grant) (token string, err error) {
	grants, err := f.List()
	if err != nil {
		return "", err
	}
	if g.CommonName == "" {
		token = NewToken()
		g.SHA256 = hashToken(token)
	}
	if err := g.Validate(); err != nil {
		return "", err
	}
	for _, other := range grants {
		if other.Name == g.Name {
			return "", fmt.Errorf("%s is there already; delete it first, or take another name", g.Name)
		}
		if g.CommonName != "" && other.CommonName == g.CommonName {
			return "", fmt.Errorf("%s is for the common name %q already", other.Name, g.CommonName)
		}
	}
	return token, writeAccess(string(f), append(grants, g))
}

// Delete removes an entry.
func (f AccessFile) Delete(name string) error {
	grants, err := f.List()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(grants, func(g Grant) bool { return g.Name == name })
	if i < 0 {
		return fmt.Errorf("no token %q in %s", name, string(f))
	}
	return writeAccess(string(f), slices.Delete(grants, i, i+1))
}

// NewToken returns a new bearer token of 130 random bits. Its prefix lets
// scanners for leaked secrets find it.
func NewToken() string { return "hsc_" + rand.Text() }

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Access knows who may ask. It follows its file while Watch runs.
type Access struct {
	path string
	log  *slog.Logger

	mu       sync.Mutex
	fixed    []Grant // not from the file
	stamp    fileStamp
	byHash   map[string]*granted
	byCN     map[string]*granted
	required bool // somebody has been granted something: everybody needs it
}

// granted is a grant in force.
type granted struct {
	Grant
	over chan struct{} // closed when it is in force no longer
}

// fileStamp changes when a file does.
type fileStamp struct {
	there bool
	size  int64
	time  time.Time
	inode any
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{true, info.Size(), info.ModTime(), inodeOf(info)}
}

// inodeOf tells a file from one that has taken its place.
func inodeOf(info fs.FileInfo) any {
	v := reflect.Indirect(reflect.ValueOf(info.Sys()))
	if v.Kind() != reflect.Struct {
		return nil
	}
	if ino := v.FieldByName("Ino"); ino.IsValid() && ino.CanUint() {
		return ino.Uint()
	}
	return nil
}

// OpenAccess reads the file, which need not be there yet. Grants without a file
// come with tokens of their own; see [Access.Admit].
func OpenAccess(path string, log *slog.Logger) (*Access, error) {
	a := &Access{path: path, log: log}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a, a.load()
}

// Admit adds a token that is in no file, for as long as the process runs. It
// does not make others need one.
func (a *Access) Admit(token string, id Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fixed = append(a.fixed, Grant{Name: id.Name, Role: id.Role, Hubs: id.Hubs, SHA256: hashToken(token)})
	if err := a.load(); err != nil {
		a.log.Error("tokens are as they were", "err", err)
	}
}

// load reads the file again. What it held before stays in force on an error.
// Access is never opened again by a file that has become empty or is gone.
func (a *Access) load() error {
	stamp := stampOf(a.path)
	grants, err := readAccess(a.path)
	if err != nil {
		return err
	}
	a.stamp = stamp
	a.required = a.required || len(grants) > 0
	old := map[string]*granted{}
	for _, g := range a.byHash {
		old[g.Name] = g
	}
	for _, g := range a.byCN {
		old[g.Name] = g
	}
	a.byHash, a.byCN = map[string]*granted{}, map[string]*granted{}
	for _, g := range append(slices.Clone(a.fixed), grants...) {
		in := &granted{Grant: g, over: make(chan struct{})}
		if was := old[g.Name]; was != nil && reflect.DeepEqual(was.Grant, g) {
			in = was
			delete(old, g.Name)
		}
		if g.SHA256 != "" {
			a.byHash[g.SHA256] = in
		} else {
			a.byCN[g.CommonName] = in
		}
	}
	for _, g := range old {
		close(g.over)
	}
	return nil
}

// Watch follows the file until ctx ends.
func (a *Access) Watch(ctx context.Context) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var told string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		a.mu.Lock()
		err := error(nil)
		changed := stampOf(a.path) != a.stamp
		if changed {
			err = a.load()
		}
		n := len(a.byHash) + len(a.byCN)
		a.mu.Unlock()
		switch {
		case err != nil && err.Error() != told:
			told = err.Error()
			a.log.Error("tokens are as they were", "err", err)
		case err == nil && changed:
			told = ""
			a.log.Info("tokens changed", "entries", n)
		}
	}
}

// Required says whether requests need a token or certificate.
func (a *Access) Required() bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.required
}

// Require makes requests need a token or certificate also while there is none.
func (a *Access) Require() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.required = true
}

// Grants returns how many tokens and certificates the file has.
func (a *Access) Grants() (tokens, certificates int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.byHash) - len(a.fixed), len(a.byCN)
}

func (a *Access) token(token string) *granted {
	hash := hashToken(token)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byHash[hash]
}

func (a *Access) certificate(commonName string) *granted {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byCN[commonName]
}
