package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"hubscope/query/client"
)

// TokenShell is what the commands of tokens work on.
type TokenShell struct {
	File AccessFile
	Out  io.Writer
}

// TokenCommand is "hubscope token".
type TokenCommand struct {
	Add    AddTokenCommand    `cmd:"" help:"Make a token, or let a client certificate in, and print it once."`
	List   ListTokensCommand  `cmd:"" help:"List tokens and client certificates."`
	Delete DeleteTokenCommand `cmd:"" help:"Withdraw a token or client certificate; what it runs ends."`
}

// TokenOutput is the flag of commands that print records.
type TokenOutput struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"Print a table or json."`
}

// AddTokenCommand is "hubscope token add".
type AddTokenCommand struct {
	TokenOutput
	Name    string   `arg:"" help:"Whose it is: a person or a program, such as grafana."`
	Role    string   `enum:"reader,admin" default:"reader" help:"reader runs queries; admin also sees and ends those of others, and reads the metrics."`
	Hub     []string `placeholder:"NAME" help:"Only rows of this hub; may be repeated. All hubs by default."`
	Expires string   `placeholder:"TIMESPAN" help:"Valid for so long, such as 90d; for good by default."`
	CN      string   `name:"cn" placeholder:"NAME" help:"Make no token: let in the client certificate with this common name (mutual TLS)."`
}

// Run adds the entry.
func (c *AddTokenCommand) Run(s *TokenShell) error {
	g := Grant{Name: c.Name, Role: Role(c.Role), CommonName: c.CN, Created: time.Now().UTC().Truncate(time.Second)}
	if len(c.Hub) > 0 {
		g.Hubs = slices.Compact(slices.Sorted(slices.Values(c.Hub)))
	}
	if c.Expires != "" {
		d, ok := client.ParseTimespan(c.Expires)
		if !ok || d <= 0 {
			return fmt.Errorf("--expires %q is no timespan such as 90d or 12h", c.Expires)
		}
		at := g.Created.Add(d)
		g.Expires = &at
	}
	token, err := s.File.Add(g)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return s.print(struct {
			Grant
			Token string `json:"token,omitempty"`
			File  string `json:"file"`
		}{g, token, string(s.File)})
	}
	if token == "" {
		_, err = fmt.Fprintf(s.Out, "client certificates of %q are let in as %s (%s)\n", g.CommonName, g.Name, g.Role)
		return err
	}
	_, err = fmt.Fprintf(s.Out, "%s\n\nThis is the token of %s (%s); it is not shown again. Send it as  Authorization: Bearer TOKEN\n", token, g.Name, g.Role)
	return err
}

// ListTokensCommand is "hubscope token list".
type ListTokensCommand struct{ TokenOutput }

// Run prints the entries, without anything secret.
func (c *ListTokensCommand) Run(s *TokenShell) error {
	grants, err := s.File.List()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return s.print(append([]Grant{}, grants...))
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tHUBS\tKIND\tCREATED\tEXPIRES")
	for _, g := range grants {
		hubs, kind, expires := "all", "token", "never"
		if g.Hubs != nil {
			hubs = strings.Join(g.Hubs, ",")
		}
		if g.CommonName != "" {
			kind = "certificate " + g.CommonName
		}
		if g.Expires != nil {
			expires = g.Expires.UTC().Format(time.RFC3339)
			if !time.Now().Before(*g.Expires) {
				expires += " (over)"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", g.Name, g.Role, hubs, kind, g.Created.UTC().Format(time.RFC3339), expires)
	}
	return w.Flush()
}

// DeleteTokenCommand is "hubscope token delete".
type DeleteTokenCommand struct {
	Names []string `arg:"" name:"name" help:"Names of the entries."`
}

// Run removes the entries.
func (c *DeleteTokenCommand) Run(s *TokenShell) error {
	var errs []error
	for _, name := range c.Names {
		errs = append(errs, s.File.Delete(name))
	}
	return errors.Join(errs...)
}

func (s *TokenShell) print(v any) error {
	enc := json.NewEncoder(s.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
