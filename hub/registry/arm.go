package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// armHub is a hub as Azure's resource manager writes it.
type armHub struct {
	ID         string            `json:"id,omitempty"`
	Name       string            `json:"name,omitempty"`
	Type       string            `json:"type,omitempty"`
	Location   string            `json:"location"`
	Tags       map[string]string `json:"tags"`
	ETag       string            `json:"etag,omitempty"`
	Properties *armHubProperties `json:"properties,omitempty"`
	SKU        *SKU              `json:"sku,omitempty"`
}

// SKU is Azure's price class of a hub; it is kept and means nothing here.
type SKU struct {
	Name     string `json:"name"`
	Tier     string `json:"tier,omitempty"`
	Capacity int    `json:"capacity,omitempty"`
}

type armHubProperties struct {
	MinTLSVersion         string   `json:"minTlsVersion,omitempty"`
	AuthorizationPolicies []Policy `json:"authorizationPolicies,omitempty"`
	ProvisioningState     string   `json:"provisioningState,omitempty"`
	State                 string   `json:"state,omitempty"`
	HostName              string   `json:"hostName,omitempty"`

	// Those below restrict access. This hub does not enforce them, so that a
	// request that sets one is refused rather than obeyed in appearance only.
	IPFilterRules                 []json.RawMessage `json:"ipFilterRules,omitempty"`
	NetworkRuleSets               json.RawMessage   `json:"networkRuleSets,omitempty"`
	PublicNetworkAccess           string            `json:"publicNetworkAccess,omitempty"`
	DisableLocalAuth              bool              `json:"disableLocalAuth,omitempty"`
	DisableDeviceSAS              bool              `json:"disableDeviceSAS,omitempty"`
	DisableModuleSAS              bool              `json:"disableModuleSAS,omitempty"`
	RestrictOutboundNetworkAccess bool              `json:"restrictOutboundNetworkAccess,omitempty"`
}

// unenforced names the first property set that would restrict access.
func (p *armHubProperties) unenforced() string {
	for _, x := range []struct {
		name string
		set  bool
	}{
		{"ipFilterRules", len(p.IPFilterRules) > 0},
		{"networkRuleSets", len(p.NetworkRuleSets) > 0 && string(p.NetworkRuleSets) != "null"},
		{"publicNetworkAccess", strings.EqualFold(p.PublicNetworkAccess, "Disabled")},
		{"disableLocalAuth", p.DisableLocalAuth},
		{"disableDeviceSAS", p.DisableDeviceSAS},
		{"disableModuleSAS", p.DisableModuleSAS},
		{"restrictOutboundNetworkAccess", p.RestrictOutboundNetworkAccess},
	} {
		if x.set {
			return x.name
		}
	}
	return ""
}

// checkARM reports why a description of a hub cannot be applied.
func (a *armHub) check() error {
	if a.Properties == nil {
		return nil
	}
	if name := a.Properties.unenforced(); name != "" {
		return invalid("properties."+name, "is not enforced by this hub, so it is not accepted")
	}
	switch v := a.Properties.MinTLSVersion; v {
	case "", TLS10, TLS12, TLS13:
	default:
		return invalid("properties.minTlsVersion", "%q is not one of 1.0, 1.2, 1.3", v)
	}
	return nil
}

// applyTo changes a hub as a PUT of the description says: minTlsVersion that is
// left out is the default again, policies that are left out stay.
func (a *armHub) applyTo(h *Hub) error {
	if err := a.check(); err != nil {
		return err
	}
	h.Location, h.Tags, h.SKU, h.MinTLSVersion = a.Location, a.Tags, a.SKU, TLS12
	if a.Properties == nil {
		return nil
	}
	if v := a.Properties.MinTLSVersion; v != "" {
		h.MinTLSVersion = v
	}
	if a.Properties.AuthorizationPolicies != nil {
		policies := slices.Clone(a.Properties.AuthorizationPolicies)
		for i := range policies {
			p := &policies[i]
			old, _ := h.Policy(p.Name)
			for _, k := range []struct {
				key *string
				old string
			}{{&p.PrimaryKey, old.PrimaryKey}, {&p.SecondaryKey, old.SecondaryKey}} {
				if *k.key == "" {
					*k.key = k.old
				}
				if *k.key == "" {
					*k.key = GenerateKey()
				}
			}
		}
		h.Policies = policies
	}
	return nil
}

// resourceManager is the subset of Azure's resource manager.
type resourceManager struct {
	APIConfig
	log *slog.Logger
}

// NewResourceManager serves hubs and their certificates as Azure's resource
// manager does, below /subscriptions/{any}/.../providers/Microsoft.Devices, for
// clients with a bearer token. Subscription and resource group may have any
// name: a registry has one set of hubs. The shapes are those of api-version
// 2023-06-30, whatever version a client asks for.
func NewResourceManager(config APIConfig) http.Handler {
	m := &resourceManager{APIConfig: config, log: config.Logger}
	if m.log == nil {
		m.log = slog.Default()
	}
	return http.HandlerFunc(m.serve)
}

// armRequest is a request with its path taken apart.
type armRequest struct {
	*http.Request
	scope string   // the path before the provider
	path  []string // behind "Microsoft.Devices"
}

func (m *resourceManager) serve(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	status, body, err := m.route(r)
	if err == nil {
		writeJSON(w, status, body)
		return
	}
	e := codeOf(err, "ResourceNotFound", "Conflict")
	if e == nil {
		m.log.Error("resource manager request", "method", r.Method, "path", r.URL.Path, "error", err)
		e = &errorCode{http.StatusInternalServerError, "InternalServerError", "An internal error has occurred"}
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	// The older and the newer form, as clients of both are about.
	writeJSON(w, e.status, map[string]any{
		"code": e.code, "httpStatusCode": http.StatusText(e.status), "message": e.message,
		"error": map[string]string{"code": e.code, "message": e.message},
	})
}

func (m *resourceManager) route(r *http.Request) (int, any, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || m.Bearer == nil || !m.Bearer(strings.TrimSpace(token)) {
		return 0, nil, fail(http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed: a valid bearer token is needed")
	}
	r = m.by(r, ActorToken, "resource manager")
	notServed := fail(http.StatusNotFound, "InvalidResourceType", "%s %s is not served", r.Method, r.URL.Path)
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	i := slices.IndexFunc(parts, func(p string) bool { return strings.EqualFold(p, "Microsoft.Devices") })
	if i < 1 || !strings.EqualFold(parts[i-1], "providers") {
		return 0, nil, notServed
	}
	q := armRequest{Request: r, scope: "/" + strings.Join(parts[:i-1], "/"), path: parts[i+1:]}
	// Names of types are matched in any case, as Azure does.
	what := r.Method
	for k, p := range q.path {
		if k%2 == 0 {
			what += " " + strings.ToLower(p)
		}
	}
	named := len(q.path)%2 == 0
	switch what {
	case "POST checknameavailability":
		return m.checkName(q)
	case "GET iothubs":
		if named {
			return m.getHub(q)
		}
		return m.listHubs(q)
	case "PUT iothubs":
		if named {
			return m.putHub(q)
		}
	case "PATCH iothubs":
		if named {
			return m.patchHub(q)
		}
	case "DELETE iothubs":
		if named {
			return m.deleteHub(q)
		}
	case "GET iothubs iothubstats":
		return m.stats(q)
	case "POST iothubs listkeys":
		return m.listKeys(q)
	case "POST iothubs iothubkeys listkeys":
		return m.key(q)
	case "GET iothubs certificates":
		if named {
			return m.getCertificate(q)
		}
		return m.listCertificates(q)
	case "PUT iothubs certificates":
		if named {
			return m.putCertificate(q)
		}
	case "DELETE iothubs certificates":
		if named {
			return m.deleteCertificate(q)
		}
	case "POST iothubs certificates generateverificationcode":
		return m.generateCode(q)
	case "POST iothubs certificates verify":
		return m.verify(q)
	}
	return 0, nil, notServed
}

// hub finds the hub of the path, its name in any case.
func (m *resourceManager) hub(q armRequest) (*Hub, error) {
	hubs, err := m.Registry.Hubs(q.Context())
	if err != nil {
		return nil, err
	}
	for _, h := range hubs {
		if strings.EqualFold(h.Name, q.path[1]) {
			return h, nil
		}
	}
	return nil, fail(http.StatusNotFound, "ResourceNotFound", "The Resource 'Microsoft.Devices/IotHubs/%s' was not found", q.path[1])
}

func (m *resourceManager) describe(q armRequest, h *Hub) armHub {
	scope := q.scope
	if !strings.Contains(strings.ToLower(scope), "/resourcegroups/") {
		scope += "/resourceGroups/hubscope"
	}
	a := armHub{
		ID:   scope + "/providers/Microsoft.Devices/IotHubs/" + h.Name,
		Name: h.Name, Type: "Microsoft.Devices/IotHubs", Location: h.Location, Tags: h.Tags, ETag: h.ETag(), SKU: h.SKU,
		Properties: &armHubProperties{
			MinTLSVersion: h.MinTLSVersion, ProvisioningState: "Succeeded", State: "Active", HostName: h.HostName(),
		},
	}
	if a.Tags == nil {
		a.Tags = map[string]string{}
	}
	if a.SKU == nil {
		a.SKU = &SKU{Name: "S1", Tier: "Standard", Capacity: 1}
	}
	return a
}

func (m *resourceManager) getHub(q armRequest) (int, any, error) {
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, m.describe(q, h), nil
}

func (m *resourceManager) listHubs(q armRequest) (int, any, error) {
	hubs, err := m.Registry.Hubs(q.Context())
	list := []armHub{}
	for _, h := range hubs {
		list = append(list, m.describe(q, h))
	}
	return http.StatusOK, map[string]any{"value": list}, err
}

func (m *resourceManager) putHub(q armRequest) (int, any, error) {
	var a armHub
	if err := readJSON(q.Request, &a); err != nil {
		return 0, nil, err
	}
	h, _, err := m.Registry.applyHub(q.Context(), q.path[1], q.Header.Get("If-Match"), &a)
	if err != nil {
		return 0, nil, err
	}
	// 200 with the state Succeeded: there is nothing to poll for.
	return http.StatusOK, m.describe(q, h), nil
}

// applyHub creates a hub, or changes it, to what the description says.
func (r *Registry) applyHub(ctx context.Context, name, ifMatch string, a *armHub) (h *Hub, created bool, err error) {
	if err := a.check(); err != nil {
		return nil, false, err
	}
	hubs, err := r.Hubs(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, old := range hubs {
		if strings.EqualFold(old.Name, name) {
			h, err := r.UpdateHub(ctx, old.Name, ifMatch, a.applyTo)
			return h, false, err
		}
	}
	if ifMatch != "" && ifMatch != "*" {
		return nil, false, fmt.Errorf("hub %q: %w: there is none of that name", name, ErrConflict)
	}
	fresh := Hub{Name: name}
	if err := a.applyTo(&fresh); err != nil {
		return nil, false, err
	}
	h, err = r.CreateHub(ctx, fresh)
	return h, true, err
}

// patchHub changes tags, as Azure's PATCH does, and the properties given here.
func (m *resourceManager) patchHub(q armRequest) (int, any, error) {
	var a struct {
		Tags       map[string]string `json:"tags"`
		Properties *armHubProperties `json:"properties"`
	}
	if err := readJSON(q.Request, &a); err != nil {
		return 0, nil, err
	}
	if err := (&armHub{Properties: a.Properties}).check(); err != nil {
		return 0, nil, err
	}
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	h, err = m.Registry.UpdateHub(q.Context(), h.Name, q.Header.Get("If-Match"), func(h *Hub) error {
		if a.Tags != nil {
			h.Tags = a.Tags
		}
		if a.Properties != nil && a.Properties.MinTLSVersion != "" {
			h.MinTLSVersion = a.Properties.MinTLSVersion
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, m.describe(q, h), nil
}

func (m *resourceManager) deleteHub(q armRequest) (int, any, error) {
	h, err := m.hub(q)
	var missing *errorCode
	if errors.As(err, &missing) && missing.status == http.StatusNotFound {
		return http.StatusNoContent, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	if err := m.Registry.DeleteHub(q.Context(), h.Name, q.Header.Get("If-Match")); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, m.describe(q, h), nil
}

func (m *resourceManager) checkName(q armRequest) (int, any, error) {
	var body struct {
		Name string `json:"name"`
	}
	if err := readJSON(q.Request, &body); err != nil {
		return 0, nil, err
	}
	if err := validateHubName(body.Name); err != nil {
		return http.StatusOK, map[string]any{"nameAvailable": false, "reason": "Invalid", "message": err.Error()}, nil
	}
	q.path = []string{"", body.Name}
	if _, err := m.hub(q); err == nil {
		return http.StatusOK, map[string]any{"nameAvailable": false, "reason": "AlreadyExists", "message": "there is a hub of that name"}, nil
	}
	return http.StatusOK, map[string]any{"nameAvailable": true}, nil
}

func (m *resourceManager) stats(q armRequest) (int, any, error) {
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	n, err := m.Cache.Statistics(q.Context(), h.Name)
	return http.StatusOK, map[string]int64{
		"totalDeviceCount": n.Total, "enabledDeviceCount": n.Enabled, "disabledDeviceCount": n.Disabled,
	}, err
}

func (m *resourceManager) listKeys(q armRequest) (int, any, error) {
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"value": h.Policies}, nil
}

func (m *resourceManager) key(q armRequest) (int, any, error) {
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	p, ok := h.Policy(q.path[3])
	if !ok {
		return 0, nil, fail(http.StatusNotFound, "ResourceNotFound", "hub %q has no shared access policy %q", h.Name, q.path[3])
	}
	return http.StatusOK, p, nil
}

func (m *resourceManager) describeCA(q armRequest, ca *CA) CertificateJSON {
	j := ca.JSON()
	j.ID = q.scope + "/providers/Microsoft.Devices/IotHubs/" + ca.Hub + "/certificates/" + ca.Name
	j.Type = "Microsoft.Devices/IotHubs/Certificates"
	return j
}

func (m *resourceManager) getCertificate(q armRequest) (int, any, error) {
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	ca, err := m.Registry.CA(q.Context(), h.Name, q.path[3])
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, m.describeCA(q, ca), nil
}

func (m *resourceManager) listCertificates(q armRequest) (int, any, error) {
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	cas, err := m.Registry.CAs(q.Context(), h.Name)
	list := []CertificateJSON{}
	for _, ca := range cas {
		list = append(list, m.describeCA(q, ca))
	}
	return http.StatusOK, map[string]any{"value": list}, err
}

func (m *resourceManager) putCertificate(q armRequest) (int, any, error) {
	var body struct {
		Properties struct {
			Certificate string `json:"certificate"`
			IsVerified  bool   `json:"isVerified"`
		} `json:"properties"`
	}
	if err := readJSON(q.Request, &body); err != nil {
		return 0, nil, err
	}
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	certificate := []byte(body.Properties.Certificate)
	if ifMatch := q.Header.Get("If-Match"); ifMatch != "" {
		ca, err := m.Registry.ReplaceCA(q.Context(), h.Name, q.path[3], ifMatch, certificate, body.Properties.IsVerified)
		if err == nil {
			return http.StatusOK, m.describeCA(q, ca), nil
		}
		if !errors.Is(err, ErrNotFound) || ifMatch != "*" {
			return 0, nil, err
		}
	}
	ca, err := m.Registry.CreateCA(q.Context(), h.Name, q.path[3], certificate, body.Properties.IsVerified)
	if errors.Is(err, ErrExists) {
		return 0, nil, fail(http.StatusPreconditionFailed, "PreconditionFailed", "%v; to replace it, send its ETag as If-Match", err)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, m.describeCA(q, ca), nil
}

// needMatch is Azure's: these requests do not go without If-Match.
func needMatch(q armRequest) (string, error) {
	ifMatch := q.Header.Get("If-Match")
	if ifMatch == "" {
		return "", fail(http.StatusBadRequest, "InvalidHeaderValue", "the header If-Match is missing")
	}
	return ifMatch, nil
}

func (m *resourceManager) deleteCertificate(q armRequest) (int, any, error) {
	ifMatch, err := needMatch(q)
	if err != nil {
		return 0, nil, err
	}
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	err = m.Registry.DeleteCA(q.Context(), h.Name, q.path[3], ifMatch)
	if errors.Is(err, ErrNotFound) {
		return http.StatusNoContent, nil, nil
	}
	return http.StatusOK, nil, err
}

func (m *resourceManager) generateCode(q armRequest) (int, any, error) {
	ifMatch, err := needMatch(q)
	if err != nil {
		return 0, nil, err
	}
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	ca, err := m.Registry.GenerateVerificationCode(q.Context(), h.Name, q.path[3], ifMatch)
	if err != nil {
		return 0, nil, err
	}
	j := m.describeCA(q, ca)
	j.Properties.VerificationCode = ca.VerificationCode
	return http.StatusOK, j, nil
}

func (m *resourceManager) verify(q armRequest) (int, any, error) {
	ifMatch, err := needMatch(q)
	if err != nil {
		return 0, nil, err
	}
	var body struct {
		Certificate string `json:"certificate"`
	}
	if err := readJSON(q.Request, &body); err != nil {
		return 0, nil, err
	}
	h, err := m.hub(q)
	if err != nil {
		return 0, nil, err
	}
	ca, err := m.Registry.VerifyCA(q.Context(), h.Name, q.path[3], ifMatch, []byte(body.Certificate))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, m.describeCA(q, ca), nil
}
