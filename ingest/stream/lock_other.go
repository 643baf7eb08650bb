//go:build !unix

package stream

import "os"

// lockFile only opens the file: there is no advisory lock to take.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
