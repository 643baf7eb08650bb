// Command pack makes the zip of the Grafana data source from what npm run build
// and go build have left in plugin/dist: one folder named by the plugin's id,
// as Grafana unpacks it, with executables that can be executed. The same files
// give the same zip.
package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	dist := flag.String("dist", "plugin/dist", "folder of the built plugin; the zip is put there")
	flag.Parse()
	file, err := pack(*dist, modified())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
	fmt.Println(file)
}

// modified is the time of the files in the zip: that of the commit, by the
// reproducible-builds convention SOURCE_DATE_EPOCH.
func modified() time.Time {
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC()
	}
	return time.Now().UTC()
}

// pack writes dist/<id>-<version>.zip and returns its name.
func pack(dist string, at time.Time) (name string, err error) {
	text, err := os.ReadFile(filepath.Join(dist, "plugin.json"))
	if err != nil {
		return "", fmt.Errorf("%w; build the frontend first", err)
	}
	var plugin struct {
		ID         string
		Executable string
		Info       struct{ Version string }
	}
	if err := json.Unmarshal(text, &plugin); err != nil {
		return "", fmt.Errorf("plugin.json: %w", err)
	}
	if plugin.ID == "" || plugin.Executable == "" || plugin.Info.Version == "" || strings.Contains(plugin.Info.Version, "%") {
		return "", errors.New("plugin.json has no id, no executable or no version")
	}
	executables, err := filepath.Glob(filepath.Join(dist, plugin.Executable+"_*"))
	if err != nil {
		return "", err
	}
	if len(executables) == 0 {
		return "", fmt.Errorf("no %s_* in %s; build the backend first", plugin.Executable, dist)
	}
	name = filepath.Join(dist, plugin.ID+"-"+plugin.Info.Version+".zip")
	out, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			os.Remove(name)
		}
	}()
	w := zip.NewWriter(out)
	err = filepath.WalkDir(dist, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(file) == ".zip" {
			return err
		}
		inside, err := filepath.Rel(dist, file)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: path.Join(plugin.ID, filepath.ToSlash(inside)), Method: zip.Deflate, Modified: at}
		h.SetMode(0o644)
		if strings.HasPrefix(inside, plugin.Executable+"_") {
			h.SetMode(0o755)
		}
		return add(w, h, file)
	})
	if err != nil {
		return "", err
	}
	return name, w.Close()
}

func add(w *zip.Writer, h *zip.FileHeader, file string) error {
	to, err := w.CreateHeader(h)
	if err != nil {
		return err
	}
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}
