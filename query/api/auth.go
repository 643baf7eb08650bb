package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"hubscope/query/client"
)

// localName is the name of who asks a service that asks for no token.
const localName = "local"

type identityKey struct{}

// identity returns who makes a request.
func identity(ctx context.Context) Identity {
	id, ok := ctx.Value(identityKey{}).(Identity)
	if !ok {
		return Identity{Name: localName, Role: Admin}
	}
	return id
}

// restrict gives a request's query the row filters of who makes it.
func (id Identity) restrict() (hubs []string, owner *string) {
	if id.Role == Admin {
		return nil, nil
	}
	return id.Hubs, &id.Name
}

// errRevoked ends what is done for an identity that is in force no longer.
var errRevoked = errors.New("the token was revoked or has expired")

// authenticate finds out who makes a request. The request that it returns ends
// when the right to it does; release frees what that takes.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (_ *http.Request, release func(), err error) {
	a := s.config.Access
	none := func() {}
	credential, scheme := bearer(r)
	var g *granted
	switch {
	case a == nil:
		return r, none, nil
	case credential != "":
		if g = a.token(credential); g == nil && a.Required() {
			return r, none, s.challenge(w, r, scheme, "the token is not known here")
		}
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		if g = a.certificate(name); g == nil {
			return r, none, failure(http.StatusForbidden, client.CodeForbidden, "the client certificate of %q has no entry here", name)
		}
	case a.Required():
		return r, none, s.challenge(w, r, "", "a token is needed: Authorization: Bearer TOKEN (hubscope token add makes one)")
	}
	if g == nil {
		return r, none, nil
	}
	if g.Expires != nil && !time.Now().Before(*g.Expires) {
		return r, none, s.challenge(w, r, scheme, "the token has expired")
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), identityKey{}, Identity{g.Name, g.Role, g.Hubs}))
	var expired <-chan time.Time
	if g.Expires != nil {
		expired = time.After(time.Until(*g.Expires))
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-g.over:
			cancel(errRevoked)
		case <-expired:
			cancel(errRevoked)
		case <-done:
		}
	}()
	return r.WithContext(ctx), func() { close(done); cancel(nil) }, nil
}

// bearer returns the token of a request and how it came: as a bearer token or as
// the password of basic authentication, which is what browsers and some tools
// can send.
func bearer(r *http.Request) (token, scheme string) {
	header := r.Header.Get("Authorization")
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case header == "":
		return "", ""
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimSpace(rest), "Bearer"
	case strings.EqualFold(scheme, "Basic"):
		if _, password, ok := r.BasicAuth(); ok {
			return password, "Basic"
		}
	}
	return "no token: " + header, "Bearer" // of a kind that nobody has
}

// challenge is the error of a request without a valid token.
func (s *Server) challenge(w http.ResponseWriter, r *http.Request, scheme, message string) error {
	value := `Bearer realm="hubscope"`
	if scheme == "Bearer" {
		value += `, error="invalid_token"`
	}
	w.Header().Add("WWW-Authenticate", value)
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		// A person with a browser: it asks for a password, which is the token.
		w.Header().Add("WWW-Authenticate", `Basic realm="hubscope: the password is the token"`)
	}
	return failure(http.StatusUnauthorized, client.CodeUnauthorized, "%s", message)
}

// onlyAdmin refuses a request of anybody else.
func onlyAdmin(r *http.Request) error {
	if id := identity(r.Context()); id.Role != Admin {
		return failure(http.StatusForbidden, client.CodeForbidden, "this needs the role admin; %s is a %s", id.Name, id.Role)
	}
	return nil
}
