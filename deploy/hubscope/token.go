package main

import (
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"hubscope/query/api"
)

// tokensName is the file of tokens under the data folder.
const tokensName = "tokens.yaml"

// tokenCmd is `hubscope token`. A service that runs follows the file.
type tokenCmd struct {
	dataFlags
	File             string `help:"File of tokens (query.tokens); that of hubscope up on --data by default." type:"path" placeholder:"FILE"`
	api.TokenCommand `embed:""`
}

// AfterApply gives the commands their file.
func (c *tokenCmd) AfterApply(kctx *kong.Context) error {
	path := c.File
	if path == "" {
		if err := os.MkdirAll(c.Data, 0o700); err != nil {
			return err
		}
		path = filepath.Join(c.Data, tokensName)
	}
	kctx.Bind(&api.TokenShell{File: api.AccessFile(path), Out: os.Stdout})
	return nil
}
