package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hubscope/hub/ca"
)

// dataFlags tell where the data folder of `up` is; other commands find the
// running stack through it.
type dataFlags struct {
	Data string `help:"Data folder of hubscope up." env:"HUBSCOPE_DATA" default:"./hubscope-data" type:"path"`
}

// Ready is what `up` writes to ready.json in its data folder, and to
// --ready-file, when everything answers. It holds secrets: mode 0600.
type Ready struct {
	Query                   string `json:"query"`
	QueryToken              string `json:"query_token"` // an admin's, for as long as this process runs
	MQTT                    string `json:"mqtt"`
	HTTPS                   string `json:"https"`
	NATS                    string `json:"nats"`
	ClickHouse              string `json:"clickhouse"`
	Hub                     string `json:"hub"`
	Host                    string `json:"host"`
	ServerCA                string `json:"server_ca"`
	ServiceConnectionString string `json:"service_connection_string"`
	ARMToken                string `json:"arm_token"`
	Data                    string `json:"data"`
	Pid                     int    `json:"pid"`
}

const readyName = "ready.json"

// readReady returns what the stack on a data folder has said of itself.
func readReady(data string) (*Ready, error) {
	b, err := os.ReadFile(filepath.Join(data, readyName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no running hubscope found under %s: start one with `hubscope up`, or say where it is with --data, HUBSCOPE_DATA, --url or --nats", data)
	}
	if err != nil {
		return nil, fmt.Errorf("find the running hubscope: %w", err)
	}
	r := new(Ready)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(data, readyName), err)
	}
	return r, nil
}

// write stores r under each path, atomically and for us alone.
func (r *Ready) write(paths ...string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := ca.WriteFile(path, append(b, '\n'), 0o600); err != nil {
			return fmt.Errorf("ready file: %w", err)
		}
	}
	return nil
}

// lockData takes the data folder for this process, until it ends.
func lockData(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(path)
		f.Close()
		return nil, fmt.Errorf("data folder %s is in use by another hubscope (process %s); stop it, or choose another folder with --data",
			dir, strings.TrimSpace(string(owner)))
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return func() { f.Close() }, nil
}

// checkSpace refuses a disk on which the stack could not even start.
func checkSpace(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	const least = 256 << 20
	if free := s.Bavail * uint64(s.Bsize); free < least {
		return fmt.Errorf("the disk of data folder %s is full: %d MiB free, at least %d MiB are needed to start; free some space or choose another folder with --data",
			dir, free>>20, least>>20)
	}
	return nil
}

// secret returns the random secret of that name under the data folder, made
// by make at the first start.
func secret(data, name string, make func() string) (string, error) {
	path := filepath.Join(data, "secrets", name)
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	s := make()
	if err := ca.WriteFile(path, []byte(s+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	return s, nil
}
