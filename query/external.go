package query

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// External says which files externaldata may read. The zero value allows none.
type External struct {
	// Folders whose files may be read, by their path or as file:// URLs.
	Folders []string `yaml:"folders"`
	// URLs under which files may be fetched, such as https://example.com/lists/.
	URLs []string `yaml:"urls"`
}

// Validate says what of the lists cannot be meant: it would allow nothing, or more
// than it says.
func (x External) Validate() error {
	for _, f := range x.Folders {
		if !filepath.IsAbs(f) || filepath.Clean(f) == string(filepath.Separator) {
			return fmt.Errorf("external folder %q: want the absolute path of a folder below the root", f)
		}
	}
	for _, a := range x.URLs {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("external URL %q: want http(s)://host/path/, without user, query or fragment", a)
		}
	}
	return nil
}

// maxExternalBytes bounds one file.
const maxExternalBytes = 32 << 20

// errNotAllowed says nothing of what there is.
var errNotAllowed = errors.New("it is not allowed here")

// Reader returns what [Config] takes as External: nil when nothing is allowed.
func (x External) Reader() func(uri string) ([]byte, error) {
	if len(x.Folders) == 0 && len(x.URLs) == 0 {
		return nil
	}
	client := &http.Client{
		Timeout: 30 * time.Second,
		// A redirect may lead to where nobody allowed to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(uri string) ([]byte, error) {
		u, err := url.Parse(uri)
		if err != nil {
			return nil, errNotAllowed
		}
		switch u.Scheme {
		case "", "file":
			if u.Host != "" {
				return nil, errNotAllowed
			}
			return x.file(filepath.FromSlash(u.Path))
		case "http", "https":
			return x.fetch(client, u)
		}
		return nil, errNotAllowed
	}
}

func (x External) file(name string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		return nil, errNotAllowed
	}
	for _, folder := range x.Folders {
		rel, err := filepath.Rel(folder, name)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		root, err := os.OpenRoot(folder)
		if err != nil {
			return nil, errors.New("its folder is not there")
		}
		defer root.Close()
		// A root follows no link out of itself.
		// Opening a pipe would wait for its writer.
		f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, errors.New("there is no such file")
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil, errors.New("it is no regular file")
		}
		return readLimited(f)
	}
	return nil, errNotAllowed
}

func (x External) fetch(client *http.Client, u *url.URL) ([]byte, error) {
	if u.User != nil || u.Path != path.Clean(u.Path) || strings.Contains(u.EscapedPath(), "%") {
		return nil, errNotAllowed
	}
	for _, a := range x.URLs {
		allowed, err := url.Parse(a)
		if err != nil || allowed.Host == "" || allowed.Scheme != u.Scheme || !strings.EqualFold(allowed.Host, u.Host) {
			continue
		}
		if u.Path != allowed.Path && !strings.HasPrefix(u.Path, strings.TrimSuffix(allowed.Path, "/")+"/") {
			continue
		}
		resp, err := client.Get(u.String())
		if err != nil {
			return nil, errors.New("its server does not answer")
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, errors.New("its server answers " + resp.Status)
		}
		return readLimited(resp.Body)
	}
	return nil, errNotAllowed
}

func readLimited(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxExternalBytes+1))
	if err != nil {
		return nil, errors.New("reading ended early")
	}
	if len(data) > maxExternalBytes {
		return nil, errors.New("it is too large")
	}
	return data, nil
}
