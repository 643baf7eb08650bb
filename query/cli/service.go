package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"hubscope/query/client"
)

// Exit codes of the commands, also in their help.
const (
	exitQuery       = 1   // the query is wrong or failed; or its result could not be written
	exitUsage       = 2   // the command line is wrong
	exitService     = 3   // the service cannot be reached, refuses, or is overloaded
	exitInterrupted = 130 // what shells use for a program that Ctrl-C ended
)

// exitError ends the program with a status; its text may be empty when all
// has been said.
type exitError struct {
	code int
	text string
}

// Error returns what is left to say.
func (e *exitError) Error() string { return e.text }

// ExitCode returns the status.
func (e *exitError) ExitCode() int { return e.code }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, "hubscope: " + fmt.Sprintf(format, args...)}
}

// Service says which query service to ask, and as whom.
type Service struct {
	URL       string `name:"url" group:"service" env:"HUBSCOPE_URL" placeholder:"URL" help:"Query service; by default that of the hubscope running on --data."`
	Token     string `group:"service" env:"HUBSCOPE_TOKEN" placeholder:"TOKEN" help:"Bearer token. Others on this machine can read arguments: prefer HUBSCOPE_TOKEN or --token-file."`
	TokenFile string `group:"service" env:"HUBSCOPE_TOKEN_FILE" placeholder:"FILE" type:"path" help:"File with the bearer token."`
	CA        string `name:"ca" group:"service" env:"HUBSCOPE_CA" placeholder:"FILE" type:"path" help:"PEM file with the roots that vouch for the service; the system's by default."`
	Cert      string `group:"service" env:"HUBSCOPE_CERT" placeholder:"FILE" type:"path" help:"PEM file with a client certificate."`
	Key       string `group:"service" env:"HUBSCOPE_KEY" placeholder:"FILE" type:"path" help:"PEM file with its key; that of --cert by default."`
}

// client returns a client of the service.
func (s *Service) client(sh *Shell) (*client.Client, error) {
	c := &client.Client{URL: s.URL, Token: s.Token}
	if c.URL == "" {
		found, token, err := sh.Find()
		if err != nil {
			return nil, &exitError{exitService, "hubscope: " + err.Error()}
		}
		if c.URL = found; c.Token == "" {
			c.Token = token
		}
	}
	if !strings.Contains(c.URL, "://") {
		c.URL = "http://" + c.URL
	}
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usage("--url %q is no address such as http://127.0.0.1:7070 or https://host:7070", c.URL)
	}
	if s.TokenFile != "" {
		if s.Token != "" {
			return nil, usage("--token and --token-file exclude each other")
		}
		b, err := os.ReadFile(s.TokenFile)
		if err != nil {
			return nil, usage("--token-file: %v", reason(err))
		}
		if c.Token = strings.TrimSpace(string(b)); c.Token == "" {
			return nil, usage("--token-file %s is empty", s.TokenFile)
		}
	}
	if s.CA == "" && s.Cert == "" && s.Key == "" {
		return c, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		b, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, usage("--ca: %v", reason(err))
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(b) {
			return nil, usage("--ca %s holds no certificate in PEM form", s.CA)
		}
	}
	if s.Key != "" && s.Cert == "" {
		return nil, usage("--key needs --cert")
	}
	if s.Cert != "" {
		key := s.Key
		if key == "" {
			key = s.Cert
		}
		pair, err := tls.LoadX509KeyPair(s.Cert, key)
		if err != nil {
			return nil, usage("--cert: %v", reason(err))
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if !strings.HasPrefix(c.URL, "https://") {
		return nil, usage("--ca, --cert and --key are for an https:// service; %s is none", c.URL)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = cfg
	c.HTTP = &http.Client{Transport: transport}
	return c, nil
}

// reason is an error without the operation, which the message has already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// errWrite says that what came cannot be written where it should go.
var errWrite = errors.New("write the result")

// queryFault says whether an error is the query's own and not the service's.
func queryFault(e *client.Error) bool {
	switch e.Code {
	case "Timeout", "MemoryLimit", "ReadLimit", "RuntimeError", "Canceled", client.CodeBadRequest, client.CodeTooLarge:
		return true
	}
	// SYN, SEM and UNS with four digits: errors with a place in the text.
	return len(e.Code) == 7 && (strings.HasPrefix(e.Code, "SYN") || strings.HasPrefix(e.Code, "SEM") || strings.HasPrefix(e.Code, "UNS"))
}

// report says on standard error why a request of the query text failed, and
// returns the error to exit with.
func report(ctx context.Context, sh *Shell, text string, err error) error {
	var wrong client.Errors
	var none noChart
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, "interrupted"}
	case errors.As(err, &wrong) && len(wrong) > 0:
		fmt.Fprintln(sh.Err, renderErrors(wrong, text, sh.ErrWidth, sh.Progress && sh.Color))
		if queryFault(wrong[0]) {
			return &exitError{code: exitQuery}
		}
		return &exitError{code: exitService}
	case errors.Is(err, errWrite), errors.As(err, &none):
		return &exitError{exitQuery, "hubscope: " + err.Error()}
	default:
		var known interface{ ExitCode() int }
		if errors.As(err, &known) {
			return err
		}
		return &exitError{exitService, "hubscope: " + err.Error()}
	}
}

// renderErrors shows errors of a query with carets. In colour the word error is
// red and what is under the carets bold. width is that of the terminal, 0 for
// none.
func renderErrors(errs client.Errors, text string, width int, color bool) string {
	s := errs.RenderWidth(text, width)
	if !color {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, "error "); ok {
			code, message, _ := strings.Cut(rest, ":")
			lines[i] = red + "error" + plain + " " + bold + code + ":" + plain + message
			continue
		}
		trimmed := strings.TrimLeft(line, " ")
		if strings.HasPrefix(trimmed, "^") {
			n := len(trimmed) - len(strings.TrimLeft(trimmed, "^"))
			lines[i] = line[:len(line)-len(trimmed)] + red + trimmed[:n] + plain + trimmed[n:]
		}
	}
	return strings.Join(lines, "\n")
}
