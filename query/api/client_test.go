package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestClientVersion(t *testing.T) {
	client := &Client{URL: serve(t, nil, Config{Version: "1.2.3"})}
	if got, err := client.Version(t.Context()); err != nil || got != "1.2.3" {
		t.Errorf("%q, %v", got, err)
	}
	for body, say := range map[string]string{
		"<html>": "", `{}`: "no version", `{"Tables":[{"Rows":[["1.0","","Engine","Kusto 2026",""]]}]}`: `"Kusto 2026"`, `{"Tables":[{"Rows":[[1]]}]}`: "no version", `[]`: "",
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })) //nolint:errcheck // a test's server
		if got, err := (&Client{URL: other.URL}).Version(t.Context()); !errors.Is(err, ErrNotAnswer) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %q, %v", body, got, err)
		}
		if _, err := (&Client{URL: other.URL}).Query(t.Context(), QueryRequest{Query: "T"}, nil); body == "<html>" && !errors.Is(err, ErrNotAnswer) {
			t.Errorf("query: %s: %v", body, err)
		}
		other.Close()
	}
}

// TestStatusErrors tells what the service refuses from what something before it
// says.
func TestStatusErrors(t *testing.T) {
	a, file := access(t)
	add(t, file, Grant{Name: "x", Role: Reader})
	waitFor(t, "the token is in force", a.Required)
	var status *StatusError
	var said Errors
	_, err := (&Client{URL: serve(t, nil, Config{Access: a})}).Schema(t.Context())
	if !errors.As(err, &status) || status.Code != 401 || !errors.As(err, &said) || said[0].Code != CodeUnauthorized || err.Error() != said.Error() {
		t.Errorf("%v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }))
	defer other.Close()
	_, err = (&Client{URL: other.URL}).Schema(t.Context())
	status, said = nil, nil
	if !errors.As(err, &status) || status.Code != 502 || errors.As(err, &said) || err.Error() != "query service at "+other.URL+": 502 Bad Gateway" {
		t.Errorf("%v", err)
	}
}
