package registry

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// APIConfig configures the HTTP APIs. Registry and Cache are needed.
type APIConfig struct {
	Registry *Registry
	// Cache answers which hub a host name is, and has its policies.
	Cache *Cache
	// DefaultHub serves requests for a host name that is no hub's.
	DefaultHub string
	// Connection says whether a device is connected, or the module that is named,
	// and since when that is so; nil means that nobody knows, and devices are shown
	// as disconnected.
	Connection func(hub, device, module string) (connected bool, since time.Time)
	// ConnectedDevices counts a hub's connected devices; nil as above.
	ConnectedDevices func(hub string) int64
	// Bearer judges the token of a request to the resource manager; nil refuses all.
	Bearer func(token string) bool
	// Address returns the client's address as an audit may show it, masked; nil
	// leaves it out.
	Address func(*http.Request) string
	// Logger gets errors that are ours; slog.Default() when nil.
	Logger *slog.Logger
}

// by returns the request with its actor.
func (c *APIConfig) by(r *http.Request, kind ActorType, name string) *http.Request {
	a := Actor{Type: kind, Name: name}
	if c.Address != nil {
		a.Address = c.Address(r)
	}
	return r.WithContext(WithActor(r.Context(), a))
}

// maxBody bounds requests: a hundred devices, or a certificate.
const maxBody = 1 << 20

// errorCode is an error in Azure's terms.
type errorCode struct {
	status  int
	code    string
	message string
}

func (e *errorCode) Error() string { return e.code + ": " + e.message }

func fail(status int, code, format string, args ...any) error {
	return &errorCode{status, code, fmt.Sprintf(format, args...)}
}

// codeOf puts an error in Azure's terms. Errors of our own are not shown.
func codeOf(err error, notFound, exists string) *errorCode {
	var known *errorCode
	var invalid *InvalidError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &invalid):
		return &errorCode{http.StatusBadRequest, "ArgumentInvalid", invalid.Error()}
	case errors.Is(err, ErrNotFound):
		return &errorCode{http.StatusNotFound, notFound, err.Error()}
	case errors.Is(err, ErrExists):
		return &errorCode{http.StatusConflict, exists, err.Error()}
	case errors.Is(err, ErrConflict):
		return &errorCode{http.StatusPreconditionFailed, "PreconditionFailed", "Precondition failed: " + err.Error()}
	}
	return nil
}

// service is Azure's identity registry API.
type service struct {
	APIConfig
	log *slog.Logger
}

// NewServiceAPI serves the identity registry as Azure's REST API does, for
// clients with a SAS token of a shared access policy:
//
//	PUT, GET, DELETE /devices/{id}   GET /devices   POST /devices (bulk)
//	PUT, GET, DELETE /devices/{id}/modules/{id}   GET /devices/{id}/modules
//	GET, PATCH, PUT /twins/{id}[/modules/{id}]   POST .../methods
//	POST /devices/query   GET /statistics/devices, /service
//
// Requests that change a device take If-Match. The hub is told by the host name.
func NewServiceAPI(config APIConfig) http.Handler {
	s := &service{APIConfig: config, log: config.Logger}
	if s.log == nil {
		s.log = slog.Default()
	}
	mux := http.NewServeMux()
	handle := func(pattern string, rights Rights, f func(*http.Request, *Hub, http.Header) (int, any, error)) {
		mux.Handle(pattern, s.handler(rights, f))
	}
	handle("GET /devices", RegistryRead, s.list)
	handle("GET /devices/{$}", RegistryRead, s.list)
	handle("POST /devices", RegistryWrite, s.bulk)
	handle("POST /devices/{$}", RegistryWrite, s.bulk)
	handle("POST /devices/query", ServiceConnect, s.query)
	handle("GET /devices/{id}", RegistryRead, s.get)
	handle("PUT /devices/{id}", RegistryRead|RegistryWrite, s.put)
	handle("DELETE /devices/{id}", RegistryRead|RegistryWrite, s.remove)
	handle("GET /devices/{id}/modules", RegistryRead, s.modules)
	handle("GET /devices/{id}/modules/{module}", RegistryRead, s.module)
	handle("PUT /devices/{id}/modules/{module}", RegistryRead|RegistryWrite, s.putModule)
	handle("DELETE /devices/{id}/modules/{module}", RegistryRead|RegistryWrite, s.removeModule)
	for _, path := range []string{"/twins/{id}", "/twins/{id}/modules/{module}"} {
		handle("GET "+path, ServiceConnect, s.twin)
		handle("PATCH "+path, ServiceConnect, s.updateTwin)
		handle("PUT "+path, ServiceConnect, s.updateTwin)
		mux.HandleFunc("POST "+path+"/methods", func(w http.ResponseWriter, r *http.Request) {
			s.handler(ServiceConnect, func(r *http.Request, hub *Hub, _ http.Header) (int, any, error) {
				return s.callMethod(r, hub, http.NewResponseController(w))
			}).ServeHTTP(w, r)
		})
	}
	handle("GET /statistics/devices", RegistryRead, s.statistics)
	handle("GET /statistics/service", ServiceConnect, s.connections)
	mux.Handle("/", s.handler(0, func(r *http.Request, _ *Hub, _ http.Header) (int, any, error) {
		return 0, nil, fail(http.StatusNotFound, "InvalidProtocolVersion", "%s %s is not served", r.Method, r.URL.Path)
	}))
	return mux
}

// handler authorizes a request, and writes the answer or the error.
func (s *service) handler(rights Rights, f func(*http.Request, *Hub, http.Header) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		hub, policy, err := s.authorize(r, rights)
		status := 0
		var body any
		if err == nil {
			status, body, err = f(s.by(r, ActorPolicy, policy), hub, w.Header())
		}
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		writeJSON(w, status, body)
	})
}

func (s *service) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := s.codeOf(r, err)
	if e == nil {
		s.log.Error("registry request", "method", r.Method, "path", r.URL.Path, "error", err)
		e = &errorCode{http.StatusInternalServerError, "ServerError", "An internal error has occurred"}
	}
	w.Header().Set("iothub-errorcode", e.code)
	writeJSON(w, e.status, map[string]string{
		"Message":          "ErrorCode:" + e.code + ";" + e.message,
		"ExceptionMessage": "TimeStamp:" + s.Registry.now().UTC().Format(time.RFC3339),
	})
}

// codeOf puts an error in Azure's terms, which depend on what was asked for.
func (s *service) codeOf(r *http.Request, err error) *errorCode {
	switch {
	case errors.Is(err, ErrNotOnline):
		return &errorCode{http.StatusNotFound, "DeviceNotOnline", "The operation failed because the requested device isn't online, or hasn't subscribed to methods"}
	case errors.Is(err, ErrTimeout):
		return &errorCode{http.StatusGatewayTimeout, "GatewayTimeout", "Timed out waiting for the response from device"}
	}
	if module := r.PathValue("module"); module != "" {
		if _, e := s.Registry.Device(r.Context(), s.hubName(r), r.PathValue("id")); e == nil {
			return codeOf(err, "ModuleNotFound", "ModuleAlreadyExistsOnDevice")
		}
	}
	return codeOf(err, "DeviceNotFound", "DeviceAlreadyExists")
}

func (s *service) hubName(r *http.Request) string {
	if h, ok := s.hubOf(r); ok {
		return h.Name
	}
	return ""
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // the client is gone
}

// hubOf finds the hub that a request is for.
func (c *APIConfig) hubOf(r *http.Request) (*Hub, bool) {
	if h, ok := c.Cache.HubFor(r.Host); ok {
		return h, true
	}
	return c.Cache.Hub(c.DefaultHub)
}

// authorize accepts a token of a shared access policy that has the rights, and
// returns the hub and the name of the policy.
func (s *service) authorize(r *http.Request, rights Rights) (_ *Hub, policyName string, _ error) {
	unauthorized := func(why string) error {
		// The peer is not told why; the log is.
		s.log.Debug("registry request refused", "path", r.URL.Path, "reason", why)
		return fail(http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
	}
	hub, ok := s.hubOf(r)
	if !ok {
		return nil, "", unauthorized("no hub of that name")
	}
	token, err := ParseToken(r.Header.Get("Authorization"))
	if err != nil {
		return nil, "", unauthorized("the token " + err.Error())
	}
	policy, ok := hub.Policy(token.Policy)
	if !ok || token.Verify(policy.PrimaryKey, policy.SecondaryKey) < 0 {
		return nil, "", unauthorized("unknown policy or wrong key")
	}
	host, path, _ := strings.Cut(token.Resource, "/")
	path = "/" + strings.Trim(path, "/")
	switch {
	case !hub.Answers(host):
		return nil, "", unauthorized("the token is for another host")
	case path != "/" && path != r.URL.Path && !strings.HasPrefix(r.URL.Path, path+"/"):
		return nil, "", unauthorized("the token is for another path")
	case !s.Registry.now().Before(token.Expiry):
		return nil, "", unauthorized("the token has expired")
	case !policy.Rights.Has(rights):
		return nil, "", unauthorized("the policy lacks " + rights.String())
	}
	return hub, policy.Name, nil
}

// json returns a device with its connection state.
func (s *service) json(d *Device) DeviceJSON {
	j := d.JSON()
	if s.Connection != nil {
		connected, since := s.Connection(d.Hub, d.ID, d.ModuleID)
		if connected {
			j.ConnectionState = "Connected"
		}
		j.ConnectionStateUpdatedTime, j.LastActivityTime = azureTime(since), azureTime(since)
	}
	return j
}

func (s *service) get(r *http.Request, hub *Hub, h http.Header) (int, any, error) {
	d, err := s.Registry.Device(r.Context(), hub.Name, r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	h.Set("ETag", `"`+d.ETag()+`"`)
	return http.StatusOK, s.json(d), nil
}

// deviceRequest is what clients send of a device.
type deviceRequest struct {
	DeviceID       string              `json:"deviceId"`
	ETag           string              `json:"etag"`
	Status         string              `json:"status"`
	StatusReason   *string             `json:"statusReason"`
	Authentication *AuthenticationJSON `json:"authentication"`
}

func (q *deviceRequest) apply(d *Device) error {
	if q.Status != "" {
		d.Status = Status(strings.ToLower(q.Status))
	}
	if q.StatusReason != nil {
		d.StatusReason = *q.StatusReason
	}
	if q.Authentication == nil {
		return nil
	}
	auth := q.Authentication.authentication()
	if auth.Type == AuthSAS && d.Auth.Type == AuthSAS {
		// Empty keys mean: as they are.
		auth.PrimaryKey = cmp.Or(auth.PrimaryKey, d.Auth.PrimaryKey)
		auth.SecondaryKey = cmp.Or(auth.SecondaryKey, d.Auth.SecondaryKey)
	}
	d.Auth = auth
	return nil
}

func readJSON(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fail(http.StatusRequestEntityTooLarge, "RequestTooLarge", "the body is larger than %d bytes", maxBody)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fail(http.StatusBadRequest, "IotHubFormatError", "the body is not what is expected: %v", err)
	}
	return nil
}

func (s *service) put(r *http.Request, hub *Hub, h http.Header) (int, any, error) {
	var q deviceRequest
	if err := readJSON(r, &q); err != nil {
		return 0, nil, err
	}
	id := r.PathValue("id")
	if q.DeviceID != id {
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "deviceId %q is not that of the path, %q", q.DeviceID, id)
	}
	var d *Device
	var err error
	if ifMatch := r.Header.Get("If-Match"); ifMatch != "" {
		d, err = s.Registry.UpdateDevice(r.Context(), hub.Name, id, ifMatch, q.apply)
	} else {
		d = &Device{Hub: hub.Name, ID: id}
		if err = q.apply(d); err == nil {
			d, err = s.Registry.CreateDevice(r.Context(), *d)
		}
	}
	if err != nil {
		return 0, nil, err
	}
	h.Set("ETag", `"`+d.ETag()+`"`)
	return http.StatusOK, s.json(d), nil
}

func (s *service) remove(r *http.Request, hub *Hub, _ http.Header) (int, any, error) {
	ifMatch := r.Header.Get("If-Match")
	if ifMatch == "" {
		return 0, nil, fail(http.StatusBadRequest, "ArgumentNull", "the header If-Match is missing")
	}
	return http.StatusNoContent, nil, s.Registry.DeleteDevice(r.Context(), hub.Name, r.PathValue("id"), ifMatch)
}

func (s *service) list(r *http.Request, hub *Hub, _ http.Header) (int, any, error) {
	top := maxPage
	if t := r.URL.Query().Get("top"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 || n > maxPage {
			return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "top must be 1 to %d", maxPage)
		}
		top = n
	}
	devices, _, err := s.Registry.Devices(r.Context(), hub.Name, Page{Limit: top})
	if err != nil {
		return 0, nil, err
	}
	list := make([]DeviceJSON, 0, len(devices))
	for _, d := range devices {
		list = append(list, s.json(d))
	}
	return http.StatusOK, list, nil
}

// moduleJSON returns a module as Azure writes it.
func (s *service) moduleJSON(m *Device) ModuleJSON {
	d := m.JSON()
	j := ModuleJSON{
		ModuleID: m.ModuleID, ManagedBy: orNull(m.ManagedBy), DeviceID: m.ID, GenerationID: d.GenerationID, ETag: d.ETag,
		ConnectionState: d.ConnectionState, ConnectionStateUpdatedTime: d.ConnectionStateUpdatedTime, LastActivityTime: d.LastActivityTime,
		Authentication: d.Authentication,
	}
	if s.Connection != nil {
		connected, since := s.Connection(m.Hub, m.ID, m.ModuleID)
		if connected {
			j.ConnectionState = "Connected"
		}
		j.ConnectionStateUpdatedTime, j.LastActivityTime = azureTime(since), azureTime(since)
	}
	return j
}

func (s *service) modules(r *http.Request, hub *Hub, _ http.Header) (int, any, error) {
	modules, err := s.Registry.Modules(r.Context(), hub.Name, r.PathValue("id"))
	list := []ModuleJSON{}
	for _, m := range modules {
		list = append(list, s.moduleJSON(m))
	}
	return http.StatusOK, list, err
}

func (s *service) module(r *http.Request, hub *Hub, h http.Header) (int, any, error) {
	m, err := s.Registry.Module(r.Context(), hub.Name, r.PathValue("id"), r.PathValue("module"))
	if err != nil {
		return 0, nil, err
	}
	h.Set("ETag", `"`+m.ETag()+`"`)
	return http.StatusOK, s.moduleJSON(m), nil
}

func (s *service) putModule(r *http.Request, hub *Hub, h http.Header) (int, any, error) {
	var q struct {
		deviceRequest
		ModuleID  string  `json:"moduleId"`
		ManagedBy *string `json:"managedBy"`
	}
	if err := readJSON(r, &q); err != nil {
		return 0, nil, err
	}
	device, module := r.PathValue("id"), r.PathValue("module")
	if q.DeviceID != device || q.ModuleID != module {
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "deviceId %q and moduleId %q are not those of the path, %q and %q", q.DeviceID, q.ModuleID, device, module)
	}
	apply := func(m *Device) error {
		q.Status, q.StatusReason = "", nil // a module is as enabled as its device
		if q.ManagedBy != nil {
			m.ManagedBy = *q.ManagedBy
		}
		return q.apply(m)
	}
	var m *Device
	var err error
	if ifMatch := r.Header.Get("If-Match"); ifMatch != "" {
		m, err = s.Registry.UpdateModule(r.Context(), hub.Name, device, module, ifMatch, apply)
	} else {
		m = &Device{Hub: hub.Name, ID: device, ModuleID: module}
		if err = apply(m); err == nil {
			m, err = s.Registry.CreateModule(r.Context(), *m)
		}
	}
	if err != nil {
		return 0, nil, err
	}
	h.Set("ETag", `"`+m.ETag()+`"`)
	return http.StatusOK, s.moduleJSON(m), nil
}

func (s *service) removeModule(r *http.Request, hub *Hub, _ http.Header) (int, any, error) {
	ifMatch := r.Header.Get("If-Match")
	if ifMatch == "" {
		return 0, nil, fail(http.StatusBadRequest, "ArgumentNull", "the header If-Match is missing")
	}
	return http.StatusNoContent, nil, s.Registry.DeleteModule(r.Context(), hub.Name, r.PathValue("id"), r.PathValue("module"), ifMatch)
}

// bulk creates, updates or deletes up to a hundred devices.
func (s *service) bulk(r *http.Request, hub *Hub, _ http.Header) (int, any, error) {
	var items []struct {
		deviceRequest
		ID         string `json:"id"`
		ImportMode string `json:"importMode"`
	}
	if err := readJSON(r, &items); err != nil {
		return 0, nil, err
	}
	if len(items) == 0 || len(items) > 100 {
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "1 to 100 devices are expected, not %d", len(items))
	}
	type itemError struct {
		DeviceID    string `json:"deviceId"`
		ErrorCode   string `json:"errorCode"`
		ErrorStatus string `json:"errorStatus"`
	}
	result := struct {
		IsSuccessful bool        `json:"isSuccessful"`
		Errors       []itemError `json:"errors"`
		Warnings     []any       `json:"warnings"`
	}{true, []itemError{}, []any{}}
	for i := range items {
		item := &items[i]
		if err := s.bulkItem(r.Context(), hub, item.ID, item.ImportMode, &item.deviceRequest); err != nil {
			e := codeOf(err, "DeviceNotFound", "DeviceAlreadyExists")
			if e == nil {
				return 0, nil, err
			}
			result.IsSuccessful = false
			result.Errors = append(result.Errors, itemError{item.ID, e.code, e.message})
		}
	}
	if !result.IsSuccessful {
		return http.StatusBadRequest, result, nil
	}
	return http.StatusOK, result, nil
}

func (s *service) bulkItem(ctx context.Context, hub *Hub, id, mode string, q *deviceRequest) error {
	ifMatch := ""
	switch strings.ToLower(mode) {
	case "create":
		d := Device{Hub: hub.Name, ID: id}
		if err := q.apply(&d); err != nil {
			return err
		}
		_, err := s.Registry.CreateDevice(ctx, d)
		return err
	case "updateifmatchetag":
		ifMatch = q.ETag
		fallthrough
	case "update":
		_, err := s.Registry.UpdateDevice(ctx, hub.Name, id, ifMatch, q.apply)
		return err
	case "deleteifmatchetag":
		ifMatch = q.ETag
		fallthrough
	case "delete":
		return s.Registry.DeleteDevice(ctx, hub.Name, id, ifMatch)
	}
	return fail(http.StatusBadRequest, "ArgumentInvalid", "importMode %q is not one of create, update, updateIfMatchETag, delete, deleteIfMatchETag", mode)
}

func (s *service) statistics(r *http.Request, hub *Hub, _ http.Header) (int, any, error) {
	n, err := s.Cache.Statistics(r.Context(), hub.Name)
	return http.StatusOK, map[string]int64{
		"totalDeviceCount": n.Total, "enabledDeviceCount": n.Enabled, "disabledDeviceCount": n.Disabled,
	}, err
}

func (s *service) connections(_ *http.Request, hub *Hub, _ http.Header) (int, any, error) {
	var n int64
	if s.ConnectedDevices != nil {
		n = s.ConnectedDevices(hub.Name)
	}
	return http.StatusOK, map[string]int64{"connectedDeviceCount": n}, nil
}

// TwinJSON is a twin as Azure writes it; ModuleID is only there for a module's.
type TwinJSON struct {
	DeviceID                  string             `json:"deviceId"`
	ModuleID                  string             `json:"moduleId,omitempty"`
	ETag                      string             `json:"etag"`
	DeviceETag                string             `json:"deviceEtag"`
	Status                    Status             `json:"status"`
	StatusReason              *string            `json:"statusReason,omitempty"`
	StatusUpdateTime          string             `json:"statusUpdateTime"`
	ConnectionState           string             `json:"connectionState"`
	LastActivityTime          string             `json:"lastActivityTime"`
	CloudToDeviceMessageCount int                `json:"cloudToDeviceMessageCount"`
	AuthenticationType        AuthType           `json:"authenticationType"`
	X509Thumbprint            X509ThumbprintJSON `json:"x509Thumbprint"`
	ModelID                   string             `json:"modelId"`
	Version                   uint64             `json:"version"`
	Tags                      map[string]any     `json:"tags"`
	Properties                TwinProperties     `json:"properties"`
	Capabilities              CapabilitiesJSON   `json:"capabilities"`
}

// TwinProperties are a twin's desired and reported properties, each with
// $metadata and $version.
type TwinProperties struct {
	Desired  map[string]any `json:"desired"`
	Reported map[string]any `json:"reported"`
}

// twinJSON writes a twin, with what is said of its device or module.
func (s *service) twinJSON(d *Device, t *Twin) TwinJSON {
	half := func(p Properties) map[string]any {
		m := map[string]any{"$metadata": p.Metadata, "$version": p.Version}
		for k, v := range p.Values {
			m[k] = v
		}
		return m
	}
	j := s.json(d)
	tags := t.Tags
	if tags == nil {
		tags = map[string]any{}
	}
	return TwinJSON{
		DeviceID: d.ID, ModuleID: d.ModuleID, ETag: t.ETag(), DeviceETag: d.ETag(), Status: d.Status, StatusReason: j.StatusReason, StatusUpdateTime: j.StatusUpdatedTime,
		ConnectionState: j.ConnectionState, LastActivityTime: j.LastActivityTime, AuthenticationType: d.Auth.Type,
		X509Thumbprint: j.Authentication.X509Thumbprint, Version: t.Version, Tags: tags,
		Properties: TwinProperties{half(t.Desired), half(t.Reported)},
	}
}

func (s *service) twin(r *http.Request, hub *Hub, h http.Header) (int, any, error) {
	device, module := r.PathValue("id"), r.PathValue("module")
	t, err := s.Registry.Twin(r.Context(), hub.Name, device, module)
	if err != nil {
		return 0, nil, err
	}
	return s.showTwin(r, hub, h, t)
}

func (s *service) showTwin(r *http.Request, hub *Hub, h http.Header, t *Twin) (int, any, error) {
	d, err := s.Registry.identity(r.Context(), hub.Name, r.PathValue("id"), r.PathValue("module"))
	if err != nil {
		return 0, nil, err
	}
	h.Set("ETag", `"`+t.ETag()+`"`)
	return http.StatusOK, s.twinJSON(d, t), nil
}

// updateTwin merges (PATCH) or replaces (PUT) tags and desired properties.
func (s *service) updateTwin(r *http.Request, hub *Hub, h http.Header) (int, any, error) {
	var q struct {
		Tags       json.RawMessage `json:"tags"`
		Properties struct {
			Desired json.RawMessage `json:"desired"`
		} `json:"properties"`
	}
	if err := readJSON(r, &q); err != nil {
		return 0, nil, err
	}
	patch := TwinPatch{Replace: r.Method == http.MethodPut}
	for _, part := range []struct {
		name string
		raw  json.RawMessage
		into *map[string]any
	}{{"tags", q.Tags, &patch.Tags}, {"properties.desired", q.Properties.Desired, &patch.Desired}} {
		if len(part.raw) == 0 || string(part.raw) == "null" {
			continue
		}
		values, err := DecodeProperties(part.raw)
		if err != nil {
			return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "%s: %v", part.name, err)
		}
		*part.into = values
	}
	t, err := s.Registry.UpdateTwin(r.Context(), hub.Name, r.PathValue("id"), r.PathValue("module"), r.Header.Get("If-Match"), patch)
	if err != nil {
		return 0, nil, err
	}
	return s.showTwin(r, hub, h, t)
}

// callMethod calls a direct method and answers with what the device does.
func (s *service) callMethod(r *http.Request, hub *Hub, c *http.ResponseController) (int, any, error) {
	var q struct {
		Name     string          `json:"methodName"`
		Payload  json.RawMessage `json:"payload"`
		Response *int            `json:"responseTimeoutInSeconds"`
		Connect  int             `json:"connectTimeoutInSeconds"`
	}
	if err := readJSON(r, &q); err != nil {
		return 0, nil, err
	}
	timeout := defaultMethodTimeout
	if q.Response != nil {
		timeout = time.Duration(*q.Response) * time.Second
	}
	switch {
	case q.Name == "" || len(q.Name) > 100 || strings.ContainsAny(q.Name, "/+#?\x00"):
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "methodName %q is not one", clip(q.Name))
	case timeout < minMethodTimeout || timeout > maxMethodTimeout:
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "responseTimeoutInSeconds must be %d to %d", minMethodTimeout/time.Second, maxMethodTimeout/time.Second)
	case q.Connect < 0 || q.Connect > int(maxMethodTimeout/time.Second):
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "connectTimeoutInSeconds must be 0 to %d", maxMethodTimeout/time.Second)
	case len(q.Payload) > maxMethodPayload:
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "the payload has %d bytes, and may have %d", len(q.Payload), maxMethodPayload)
	}
	// The deadline for reading the request, which is read, would end the wait.
	_ = c.SetReadDeadline(time.Time{}) // a writer without deadlines has none
	result, err := s.Registry.CallMethod(r.Context(), MethodNotice{
		Hub: hub.Name, DeviceID: r.PathValue("id"), ModuleID: r.PathValue("module"), Name: q.Name, Payload: q.Payload, Timeout: timeout,
	}, time.Duration(q.Connect)*time.Second)
	return http.StatusOK, result, err
}

// maxMethodPayload is Azure's limit of a direct method's payload.
const maxMethodPayload = 128 << 10

// query runs Azure's query language over the devices, a page at a time.
func (s *service) query(r *http.Request, hub *Hub, h http.Header) (int, any, error) {
	var request struct {
		Query string `json:"query"`
	}
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}
	q, err := parseDeviceQuery(request.Query)
	if err != nil {
		return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "%v", err)
	}
	size := 100
	if t := r.Header.Get("x-ms-max-item-count"); t != "" {
		if size, err = strconv.Atoi(t); err != nil || size < 1 {
			return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "x-ms-max-item-count must be a positive number")
		}
		size = min(size, maxPage)
	}
	var after uint64
	if t := r.Header.Get("x-ms-continuation"); t != "" {
		if after, err = parseContinuation(t); err != nil {
			return 0, nil, fail(http.StatusBadRequest, "ArgumentInvalid", "x-ms-continuation is not one of this hub's")
		}
	}
	if q.count != "" {
		n, err := s.count(r.Context(), hub, q)
		h.Set("x-ms-item-type", "raw")
		return http.StatusOK, []map[string]int64{{q.count: n}}, err
	}
	// Most queries are about the devices: then only the twins of rows are read.
	var twins map[string]Record
	if q.twins {
		if twins, err = s.Registry.twins(r.Context(), hub.Name); err != nil {
			return 0, nil, err
		}
	}
	rows := []any{}
	itemType := "Twin"
	for len(rows) < size {
		devices, next, err := s.Registry.Devices(r.Context(), hub.Name, Page{After: after, Limit: maxPage})
		if err != nil {
			return 0, nil, err
		}
		for _, d := range devices {
			t, fields, err := s.fields(d, twins)
			if err != nil {
				return 0, nil, err
			}
			if q.matches(fields) {
				if !q.twins {
					twin, err := s.Registry.Twin(r.Context(), hub.Name, d.ID, "")
					if errors.Is(err, ErrNotFound) {
						continue // deleted meanwhile
					}
					if err != nil {
						return 0, nil, err
					}
					t = s.twinJSON(d, twin)
				}
				var row any = t
				if q.columns != nil {
					row, itemType = q.project(fields), "raw"
				}
				if rows = append(rows, row); len(rows) == size {
					next = d.Revision
					break
				}
			}
		}
		if after = next; next == 0 {
			break
		}
	}
	if after != 0 {
		// There may be no more: the client finds out with an empty page.
		h.Set("x-ms-continuation", continuation(after))
	}
	h.Set("x-ms-item-type", itemType)
	return http.StatusOK, rows, nil
}

func (s *service) count(ctx context.Context, hub *Hub, q *deviceQuery) (n int64, err error) {
	var twins map[string]Record
	if q.twins {
		if twins, err = s.Registry.twins(ctx, hub.Name); err != nil {
			return 0, err
		}
	}
	for page := (Page{Limit: maxPage}); ; {
		devices, next, err := s.Registry.Devices(ctx, hub.Name, page)
		if err != nil {
			return 0, err
		}
		for _, d := range devices {
			_, fields, err := s.fields(d, twins)
			if err != nil {
				return 0, err
			}
			if q.matches(fields) {
				n++
			}
		}
		if next == 0 {
			return n, nil
		}
		page.After = next
	}
}

// fields are a twin as the query language sees it.
func (s *service) fields(d *Device, twins map[string]Record) (TwinJSON, map[string]any, error) {
	t := newTwin(d)
	if rec, ok := twins[d.ID]; ok {
		var err error
		if t, err = decodeTwin(rec, d); err != nil {
			return TwinJSON{}, nil, err
		}
	}
	j := s.twinJSON(d, t)
	b, err := json.Marshal(j)
	if err != nil {
		return j, nil, err
	}
	var fields map[string]any
	return j, fields, json.Unmarshal(b, &fields)
}

func continuation(after uint64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatUint(after, 36)))
}

func parseContinuation(s string) (uint64, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(string(b), 36, 64)
}
