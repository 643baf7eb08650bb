package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/hub/ca"
)

// api is an HTTP API under test, with the demo hub.
type api struct {
	t       *testing.T
	r       *Registry
	handler http.Handler
	auth    string
}

func serviceAPI(t *testing.T) *api {
	t.Helper()
	r := newRegistry(t, NewMemory())
	cache, _ := startCache(t, r, 0)
	a := &api{t: t, r: r, handler: NewServiceAPI(APIConfig{
		Registry: r, Cache: cache,
		Connection:       func(hub, device, module string) (bool, time.Time) { return device == "online", noon },
		ConnectedDevices: func(string) int64 { return 7 },
		Address:          func(r *http.Request) string { return strings.ReplaceAll(r.RemoteAddr, ".1:1234", ".XXX") },
	})}
	a.auth = a.token("iothubowner", "localhost", time.Hour)
	return a
}

func (a *api) token(policy, resource string, ttl time.Duration) string {
	a.t.Helper()
	h, err := a.r.Hub(a.t.Context(), "demo")
	if err != nil {
		a.t.Fatal(err)
	}
	p, ok := h.Policy(policy)
	if !ok {
		a.t.Fatalf("no policy %s", policy)
	}
	return token(a.t, resource, policy, p.PrimaryKey, noon.Add(ttl))
}

// answer is what a test compares of a response.
type answer struct {
	Status int
	Code   string // of an error
}

// do sends a request; headers come in pairs.
func (a *api) do(method, target string, body any, headers ...string) (*http.Response, []byte) {
	a.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			a.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	r := httptest.NewRequest(method, "https://localhost"+target, reader)
	r.Header.Set("Authorization", a.auth)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	response := w.Result()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return response, data
}

// wants sends a request and checks status and error code.
func (a *api) wants(want answer, method, target string, body any, headers ...string) []byte {
	a.t.Helper()
	response, data := a.do(method, target, body, headers...)
	got := answer{Status: response.StatusCode}
	if got.Status >= 400 {
		var e struct {
			Message string
			Code    string `json:"code"`
		}
		if err := json.Unmarshal(data, &e); err != nil {
			a.t.Errorf("%s %s: error body %q: %v", method, target, data, err)
		}
		got.Code = e.Code
		if rest, ok := strings.CutPrefix(e.Message, "ErrorCode:"); ok {
			got.Code, _, _ = strings.Cut(rest, ";")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		a.t.Errorf("%s %s (-want +got):\n%s%s", method, target, diff, data)
	}
	return data
}

func into[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

func TestServiceDevices(t *testing.T) {
	a := serviceAPI(t)
	ok := answer{Status: 200}
	// An SDK sends empty keys for a SAS device.
	created := into[DeviceJSON](t, a.wants(ok, "PUT", "/devices/pump%2C1?api-version=2021-04-12",
		`{"deviceId":"pump,1","status":"enabled","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`))
	if created.DeviceID != "pump,1" || created.Authentication.SymmetricKey.PrimaryKey == nil || created.ConnectionState != "Disconnected" || created.ETag == "" {
		t.Errorf("created %+v", created)
	}
	response, data := a.do("GET", "/devices/pump%2C1", nil)
	if diff := cmp.Diff(created, into[DeviceJSON](t, data)); diff != "" {
		t.Errorf("device (-created +got):\n%s", diff)
	}
	if got := response.Header.Get("ETag"); got != `"`+created.ETag+`"` {
		t.Errorf("ETag is %s", got)
	}
	a.wants(answer{409, "DeviceAlreadyExists"}, "PUT", "/devices/pump%2C1", `{"deviceId":"pump,1"}`)
	a.wants(answer{404, "DeviceNotFound"}, "GET", "/devices/nobody", nil)
	a.wants(answer{404, "DeviceNotFound"}, "PUT", "/devices/nobody", `{"deviceId":"nobody"}`, "If-Match", `"*"`)
	a.wants(answer{400, "ArgumentInvalid"}, "PUT", "/devices/a", `{"deviceId":"b"}`)
	a.wants(answer{400, "ArgumentInvalid"}, "PUT", "/devices/a", `{"deviceId":"a","status":"off"}`)
	a.wants(answer{400, "ArgumentInvalid"}, "PUT", "/devices/a", `{"deviceId":"a","authentication":{"type":"sas","symmetricKey":{"primaryKey":"x"}}}`)
	a.wants(answer{400, "IotHubFormatError"}, "PUT", "/devices/a", `{"deviceId":`)
	a.wants(answer{413, "RequestTooLarge"}, "PUT", "/devices/a", `{"deviceId":"`+strings.Repeat("a", maxBody)+`"}`)

	// Disabling keeps the keys.
	disabled := into[DeviceJSON](t, a.wants(ok, "PUT", "/devices/pump%2C1",
		`{"deviceId":"pump,1","status":"disabled","statusReason":"stolen","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, "If-Match", `"`+created.ETag+`"`))
	if disabled.Status != Disabled || *disabled.StatusReason != "stolen" || *disabled.Authentication.SymmetricKey.PrimaryKey != *created.Authentication.SymmetricKey.PrimaryKey {
		t.Errorf("disabled %+v", disabled)
	}
	a.wants(answer{412, "PreconditionFailed"}, "PUT", "/devices/pump%2C1", `{"deviceId":"pump,1"}`, "If-Match", `"`+created.ETag+`"`)
	a.wants(answer{412, "PreconditionFailed"}, "DELETE", "/devices/pump%2C1", nil, "If-Match", `"`+created.ETag+`"`)
	a.wants(answer{400, "ArgumentNull"}, "DELETE", "/devices/pump%2C1", nil)

	thumbprint := strings.Repeat("ab", 32)
	x := into[DeviceJSON](t, a.wants(ok, "PUT", "/devices/x", `{"deviceId":"x","authentication":{"x509Thumbprint":{"primaryThumbprint":"`+thumbprint+`"}}}`))
	if x.Authentication.Type != "selfSigned" || *x.Authentication.X509Thumbprint.PrimaryThumbprint != strings.ToUpper(thumbprint) {
		t.Errorf("created %+v", x)
	}
	// A change of the type may bring the old type's credentials along.
	x = into[DeviceJSON](t, a.wants(ok, "PUT", "/devices/x", `{"deviceId":"x","authentication":{"type":"certificateAuthority","x509Thumbprint":{"primaryThumbprint":"`+thumbprint+`"}}}`, "If-Match", "*"))
	if x.Authentication.Type != "certificateAuthority" || x.Authentication.X509Thumbprint.PrimaryThumbprint != nil {
		t.Errorf("updated %+v", x)
	}
	if online := into[DeviceJSON](t, a.wants(ok, "PUT", "/devices/online", `{"deviceId":"online"}`)); online.ConnectionState != "Connected" || online.ConnectionStateUpdatedTime != "2026-11-22T12:00:00.0000000Z" {
		t.Errorf("connected device is %+v", online)
	}

	var ids []string
	for _, d := range into[[]DeviceJSON](t, a.wants(ok, "GET", "/devices/?api-version=2021-04-12&top=2", nil)) {
		ids = append(ids, d.DeviceID)
	}
	if diff := cmp.Diff([]string{"pump,1", "x"}, ids); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	a.wants(answer{400, "ArgumentInvalid"}, "GET", "/devices?top=0", nil)
	if got := string(a.wants(ok, "GET", "/statistics/devices", nil)); got != `{"disabledDeviceCount":1,"enabledDeviceCount":2,"totalDeviceCount":3}`+"\n" {
		t.Errorf("statistics are %s", got)
	}
	if got := string(a.wants(ok, "GET", "/statistics/service", nil)); got != `{"connectedDeviceCount":7}`+"\n" {
		t.Errorf("statistics are %s", got)
	}
	if got := string(a.wants(ok, "GET", "/devices/x/modules", nil)); got != "[]\n" {
		t.Errorf("modules are %s", got)
	}
	twin := into[TwinJSON](t, a.wants(ok, "GET", "/twins/pump%2C1", nil))
	if twin.DeviceID != "pump,1" || twin.Status != Disabled || twin.Properties.Desired["$version"] != 1.0 || twin.AuthenticationType != AuthSAS {
		t.Errorf("twin is %+v", twin)
	}
	a.wants(answer{404, "DeviceNotFound"}, "GET", "/twins/nobody", nil)
	a.wants(answer{404, "InvalidProtocolVersion"}, "GET", "/jobs/v2", nil)

	if data := a.wants(answer{Status: 204}, "DELETE", "/devices/pump%2C1", nil, "If-Match", "*"); len(data) != 0 {
		t.Errorf("deletion answered %q", data)
	}
	a.wants(answer{404, "DeviceNotFound"}, "DELETE", "/devices/pump%2C1", nil, "If-Match", "*")
}

func TestServiceBulk(t *testing.T) {
	a := serviceAPI(t)
	type result struct {
		IsSuccessful bool
		Errors       []struct{ DeviceID, ErrorCode string }
	}
	send := func(status int, body string) result {
		t.Helper()
		response, data := a.do("POST", "/devices?api-version=2021-04-12", body)
		if response.StatusCode != status {
			t.Errorf("%s: status %d, want %d", body, response.StatusCode, status)
		}
		return into[result](t, data)
	}
	if r := send(200, `[{"id":"a","importMode":"create"},{"id":"b","importMode":"create","status":"disabled"}]`); !r.IsSuccessful || len(r.Errors) != 0 {
		t.Errorf("result is %+v", r)
	}
	r := send(400, `[{"id":"a","importMode":"create"},{"id":"b","importMode":"Update","status":"enabled"},{"id":"c","importMode":"Delete"},{"id":"a","importMode":"UpdateIfMatchETag","etag":"OTk5"},{"id":"d","importMode":"x"}]`)
	var got []string
	for _, e := range r.Errors {
		got = append(got, e.DeviceID+" "+e.ErrorCode)
	}
	if diff := cmp.Diff([]string{"a DeviceAlreadyExists", "c DeviceNotFound", "a PreconditionFailed", "d ArgumentInvalid"}, got); diff != "" || r.IsSuccessful {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if d := must(a.r.Device(t.Context(), "demo", "b"))(t); d.Status != Enabled {
		t.Error("b was not enabled")
	}
	send(200, `[{"id":"a","importMode":"delete"},{"id":"b","importMode":"Delete"}]`)
	a.wants(answer{400, "ArgumentInvalid"}, "POST", "/devices", `[]`)
}

func TestServiceRights(t *testing.T) {
	a := serviceAPI(t)
	must(a.r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "x"}))(t)
	owner := a.auth
	refused := answer{401, "IotHubUnauthorizedAccess"}
	for _, tt := range []struct {
		name, auth     string
		method, target string
		want           answer
	}{
		{"owner", owner, "GET", "/devices/x", answer{Status: 200}},
		{"none", "", "GET", "/devices/x", refused},
		{"bearer", "Bearer abc", "GET", "/devices/x", refused},
		{"expired", a.token("iothubowner", "localhost", -time.Second), "GET", "/devices/x", refused},
		{"another host", a.token("iothubowner", "elsewhere", time.Hour), "GET", "/devices/x", refused},
		{"wrong key", token(t, "localhost", "iothubowner", testKey, noon.Add(time.Hour)), "GET", "/devices/x", refused},
		{"unknown policy", token(t, "localhost", "root", testKey, noon.Add(time.Hour)), "GET", "/devices/x", refused},
		{"no policy", token(t, "localhost", "", testKey, noon.Add(time.Hour)), "GET", "/devices/x", refused},
		{"one device", a.token("iothubowner", "localhost/devices/x", time.Hour), "GET", "/devices/x", answer{Status: 200}},
		{"another device", a.token("iothubowner", "localhost/devices/y", time.Hour), "GET", "/devices/x", refused},
		{"all devices", a.token("iothubowner", "localhost/devices", time.Hour), "GET", "/devices/x", answer{Status: 200}},
		{"reader reads", a.token("registryRead", "localhost", time.Hour), "GET", "/devices/x", answer{Status: 200}},
		{"reader deletes", a.token("registryRead", "localhost", time.Hour), "DELETE", "/devices/x", refused},
		{"reader's twin", a.token("registryRead", "localhost", time.Hour), "GET", "/twins/x", refused},
		{"service's twin", a.token("service", "localhost", time.Hour), "GET", "/twins/x", answer{Status: 200}},
		{"service reads", a.token("service", "localhost", time.Hour), "GET", "/devices/x", refused},
		{"device reads", a.token("device", "localhost", time.Hour), "GET", "/devices/x", refused},
		{"writer deletes", a.token("registryReadWrite", "localhost", time.Hour), "DELETE", "/devices/x", answer{Status: 204}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a.t, a.auth = t, tt.auth
			a.wants(tt.want, tt.method, tt.target, nil, "If-Match", "*")
		})
	}
}

func TestServiceQuery(t *testing.T) {
	a := serviceAPI(t)
	for i := range 25 {
		status := Enabled
		if i%5 == 0 {
			status = Disabled
		}
		must(a.r.CreateDevice(t.Context(), Device{Hub: "demo", ID: fmt.Sprintf("pump-%02d", i), Status: status}))(t)
	}
	must(a.r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "valve", Auth: Authentication{Type: AuthCA}}))(t)
	// run pages through a query and returns the device ids.
	run := func(query string, size string) (ids []string, pages int) {
		t.Helper()
		continuation := ""
		for {
			response, data := a.do("POST", "/devices/query?api-version=2021-04-12", map[string]string{"query": query},
				"x-ms-max-item-count", size, "x-ms-continuation", continuation)
			if response.StatusCode != 200 {
				t.Fatalf("%s: status %d: %s", query, response.StatusCode, data)
			}
			pages++
			for _, row := range into[[]map[string]any](t, data) {
				ids = append(ids, fmt.Sprint(row["deviceId"]))
			}
			if continuation = response.Header.Get("x-ms-continuation"); continuation == "" {
				return ids, pages
			}
		}
	}
	if ids, pages := run("SELECT * FROM devices", "10"); len(ids) != 26 || pages != 3 {
		t.Errorf("%d devices on %d pages", len(ids), pages)
	}
	for query, want := range map[string][]string{
		"SELECT * FROM devices WHERE status = 'disabled'":                                                                                   {"pump-00", "pump-05", "pump-10", "pump-15", "pump-20"},
		"select deviceId from devices where deviceId = \"pump-07\"":                                                                         {"pump-07"},
		"SELECT * FROM devices WHERE authenticationType = 'certificateAuthority'":                                                           {"valve"},
		"SELECT * FROM devices WHERE deviceId IN ['pump-01', 'valve', 'x']":                                                                 {"pump-01", "valve"},
		"SELECT * FROM devices WHERE startswith(deviceId, 'pump-0') AND NOT (status = 'enabled')":                                           {"pump-00", "pump-05"},
		"SELECT * FROM devices WHERE deviceId > 'pump-22' AND devices.status <> 'disabled'":                                                 {"pump-23", "pump-24", "valve"},
		"SELECT * FROM devices WHERE deviceId = 'valve' OR deviceId = 'pump-03' AND status = 'enabled'":                                     {"pump-03", "valve"},
		"SELECT * FROM devices WHERE is_defined(tags.site)":                                                                                 nil,
		"SELECT * FROM devices WHERE properties.desired = 'x' OR properties.desired = properties.desired":                                   nil,
		"SELECT * FROM devices WHERE cloudToDeviceMessageCount >= 0 AND version < 10 AND deviceId NIN ['valve'] AND endswith(deviceId,'4')": {"pump-04", "pump-14", "pump-24"},
		"SELECT * FROM devices WHERE deviceId = 'it\\'s'":                                                                                   nil,
	} {
		if got, _ := run(query, "100"); !cmp.Equal(want, got) {
			t.Errorf("%s\n%s", query, cmp.Diff(want, got))
		}
	}
	response, data := a.do("POST", "/devices/query", map[string]string{"query": "SELECT COUNT() AS total FROM devices WHERE status = 'enabled'"})
	if string(data) != `[{"total":21}]`+"\n" || response.Header.Get("x-ms-item-type") != "raw" {
		t.Errorf("count is %s", data)
	}
	if _, data := a.do("POST", "/devices/query", map[string]string{"query": "SELECT deviceId AS id, status FROM devices WHERE deviceId = 'valve'"}); string(data) != `[{"id":"valve","status":"enabled"}]`+"\n" {
		t.Errorf("projection is %s", data)
	}
	for query, want := range map[string]string{
		"":                                         "expected SELECT",
		"SELECT * FROM devices.modules":            "only devices can be queried",
		"SELECT * FROM jobs":                       "only devices can be queried",
		"SELECT TOP 5 * FROM devices":              "TOP is not supported",
		"SELECT status, COUNT() FROM devices":      "expected FROM",
		"SELECT * FROM devices GROUP BY status":    "GROUP BY is not supported",
		"SELECT * FROM devices WHERE":              "expected a value",
		"SELECT * FROM devices WHERE a":            "expected a comparison",
		"SELECT * FROM devices WHERE a = 'x":       "has no end",
		"SELECT * FROM devices WHERE a ; b":        "unexpected ';'",
		"SELECT * FROM devices WHERE upper(a)='X'": "unknown function upper",
		"SELECT * FROM devices WHERE a = 1 b":      "expected the end of the query",
		"SELECT * FROM devices WHERE " + strings.Repeat("(", 100) + "a=1": "nested too deeply",
		strings.Repeat("x", maxQuery+1):                                   "longer than",
	} {
		_, data := a.do("POST", "/devices/query", map[string]string{"query": query})
		if !strings.Contains(string(data), want) {
			t.Errorf("%.80s: %s, want %q", query, data, want)
		}
	}
	a.wants(answer{400, "ArgumentInvalid"}, "POST", "/devices/query", `{"query":"SELECT * FROM devices"}`, "x-ms-continuation", "?")
	a.wants(answer{400, "ArgumentInvalid"}, "POST", "/devices/query", `{"query":"SELECT * FROM devices"}`, "x-ms-max-item-count", "-1")
}

// FuzzDeviceQuery: a condition and its negation never agree on a device.
func FuzzDeviceQuery(f *testing.F) {
	for _, s := range []string{
		"deviceId IN ['a', 2, null, true] AND NOT (x.y <= -1.5e3 OR is_null(z))", "contains(deviceId, 'p') OR properties = tags", "NOT NOT version NIN [2]",
	} {
		f.Add(s)
	}
	fields := map[string]any{"deviceId": "pump", "version": 2.0, "x": nil, "tags": map[string]any{}, "list": []any{1.0}}
	f.Fuzz(func(t *testing.T, condition string) {
		const query = "SELECT * FROM devices WHERE "
		q, err := parseDeviceQuery(query + condition)
		if err != nil {
			return
		}
		not, err := parseDeviceQuery(query + "NOT (" + condition + ")")
		if err != nil {
			if strings.Contains(err.Error(), "too deeply") || strings.Contains(err.Error(), "longer than") {
				return
			}
			t.Fatalf("the negation does not parse: %v", err)
		}
		if q.matches(fields) == not.matches(fields) {
			t.Errorf("%q and its negation both say %v", condition, q.matches(fields))
		}
	})
}

const armPath = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Devices/IotHubs"

func resourceManagerAPI(t *testing.T) *api {
	t.Helper()
	r := newRegistry(t, NewMemory())
	cache, _ := startCache(t, r, 0)
	return &api{t: t, r: r, auth: "Bearer secret", handler: NewResourceManager(APIConfig{
		Registry: r, Cache: cache, Bearer: func(token string) bool { return token == "secret" },
	})}
}

func TestResourceManagerHubs(t *testing.T) {
	a := resourceManagerAPI(t)
	ok := answer{Status: 200}
	body := `{"location":"westeurope","tags":{"site":"7"},"sku":{"name":"S1","capacity":1},"properties":{"minTlsVersion":"1.2"}}`
	got := into[armHub](t, a.wants(ok, "PUT", armPath+"/plant-7?api-version=2023-06-30", body))
	want := armHub{
		ID: armPath + "/plant-7", Name: "plant-7", Type: "Microsoft.Devices/IotHubs", Location: "westeurope",
		Tags: map[string]string{"site": "7"}, ETag: got.ETag, SKU: &SKU{Name: "S1", Capacity: 1},
		Properties: &armHubProperties{MinTLSVersion: "1.2", ProvisioningState: "Succeeded", State: "Active", HostName: "plant-7.localhost"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hub (-want +got):\n%s", diff)
	}
	keys := func() []Policy {
		t.Helper()
		return into[struct{ Value []Policy }](t, a.wants(ok, "POST", armPath+"/plant-7/listkeys", nil)).Value
	}
	before := keys()
	if len(before) != 5 || before[0].Name != "iothubowner" || before[0].Rights != RegistryRead|RegistryWrite|ServiceConnect|DeviceConnect {
		t.Errorf("policies are %+v", before)
	}
	legacy := into[armHub](t, a.wants(ok, "PUT", armPath+"/PLANT-7", `{"location":"westeurope","properties":{"minTlsVersion":"1.0"}}`, "If-Match", got.ETag))
	if legacy.Name != "plant-7" || legacy.Properties.MinTLSVersion != "1.0" || len(legacy.Tags) != 0 {
		t.Errorf("hub is %+v", legacy)
	}
	if diff := cmp.Diff(before, keys()); diff != "" {
		t.Errorf("a PUT changed the policies (-before +after):\n%s", diff)
	}
	a.wants(answer{412, "PreconditionFailed"}, "PUT", armPath+"/plant-7", body, "If-Match", got.ETag)
	a.wants(answer{412, "PreconditionFailed"}, "PUT", armPath+"/plant-8", body, "If-Match", got.ETag)
	if h := into[armHub](t, a.wants(ok, "PATCH", strings.ToLower(armPath)+"/plant-7", `{"tags":{"a":"b"}}`)); h.Tags["a"] != "b" || h.Properties.MinTLSVersion != "1.0" {
		t.Errorf("hub is %+v", h)
	}
	if h := into[armHub](t, a.wants(ok, "GET", armPath+"/plant-7", nil)); h.Tags["a"] != "b" {
		t.Errorf("hub is %+v", h)
	}
	if p := into[Policy](t, a.wants(ok, "POST", armPath+"/plant-7/IotHubKeys/service/listkeys", nil)); p.Rights != ServiceConnect {
		t.Errorf("policy is %+v", p)
	}
	a.wants(answer{404, "ResourceNotFound"}, "POST", armPath+"/plant-7/IotHubKeys/x/listkeys", nil)
	for _, path := range []string{armPath, "/subscriptions/1/providers/Microsoft.Devices/IotHubs"} {
		if l := into[struct{ Value []armHub }](t, a.wants(ok, "GET", path, nil)).Value; len(l) != 2 || l[1].ID != armPath+"/plant-7" && !strings.Contains(l[1].ID, "/resourceGroups/hubscope/") {
			t.Errorf("hubs are %+v", l)
		}
	}
	must(a.r.CreateDevice(t.Context(), Device{Hub: "plant-7", ID: "x"}))(t)
	if s := string(a.wants(ok, "GET", armPath+"/plant-7/IotHubStats", nil)); !strings.Contains(s, `"totalDeviceCount":1`) {
		t.Errorf("statistics are %s", s)
	}
	for name, want := range map[string]string{"plant-7": "AlreadyExists", "x": "Invalid", "plant-8": "true"} {
		if s := string(a.wants(ok, "POST", "/subscriptions/1/providers/Microsoft.Devices/checkNameAvailability", map[string]string{"name": name})); !strings.Contains(s, want) {
			t.Errorf("%s: %s", name, s)
		}
	}

	bad := answer{400, "ArgumentInvalid"}
	a.wants(bad, "PUT", armPath+"/plant-8", `{"properties":{"minTlsVersion":"1.1"}}`)
	a.wants(bad, "PUT", armPath+"/a", body)
	for _, p := range []string{`"disableLocalAuth":true`, `"disableDeviceSAS":true`, `"publicNetworkAccess":"Disabled"`, `"ipFilterRules":[{"filterName":"x"}]`, `"networkRuleSets":{}`} {
		a.wants(bad, "PUT", armPath+"/plant-8", `{"properties":{`+p+`}}`)
		a.wants(bad, "PATCH", armPath+"/plant-7", `{"properties":{`+p+`}}`)
	}
	a.wants(answer{400, "IotHubFormatError"}, "PUT", armPath+"/plant-8", `{`)
	a.wants(answer{404, "ResourceNotFound"}, "GET", armPath+"/nobody", nil)
	a.wants(answer{404, "InvalidResourceType"}, "GET", "/subscriptions/1/providers/Microsoft.Compute/x", nil)
	a.wants(answer{404, "InvalidResourceType"}, "PUT", armPath, body)

	a.wants(ok, "DELETE", armPath+"/plant-7", nil)
	a.wants(answer{Status: 204}, "DELETE", armPath+"/plant-7", nil)
	for _, auth := range []string{"", "secret", "Bearer x", "Bearer "} {
		a.auth = auth
		a.wants(answer{401, "AuthenticationFailed"}, "GET", armPath, nil)
	}
}

func TestResourceManagerCertificates(t *testing.T) {
	a := resourceManagerAPI(t)
	ok := answer{Status: 200}
	plant, other := authority(t, "Plant root"), authority(t, "Other root")
	description := func(a *ca.Authority, verified bool) map[string]any {
		return map[string]any{"properties": map[string]any{"certificate": pemBase64(a.Certificate), "isVerified": verified}}
	}
	path := armPath + "/demo/certificates"
	created := into[CertificateJSON](t, a.wants(answer{Status: 201}, "PUT", path+"/plant", description(plant, false)))
	want := CertificateJSON{
		ID: path + "/plant", Name: "plant", Type: "Microsoft.Devices/IotHubs/Certificates", ETag: created.ETag,
		Properties: CertificatePropertiesJSON{
			Subject: "Plant root", Expiry: "Wed, 22 Nov 2035 12:00:00 GMT", Thumbprint: created.Properties.Thumbprint,
			Created: "Sun, 22 Nov 2026 12:00:00 GMT", Updated: "Sun, 22 Nov 2026 12:00:00 GMT", Certificate: pemBase64(plant.Certificate),
		},
	}
	if s, _ := Thumbprints(plant.Certificate); s != created.Properties.Thumbprint {
		t.Errorf("thumbprint is %s", created.Properties.Thumbprint)
	}
	want.Properties.Expiry = rfc1123(plant.Certificate.NotAfter)
	if diff := cmp.Diff(want, created); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}
	a.wants(answer{412, "PreconditionFailed"}, "PUT", path+"/plant", description(other, false))
	a.wants(answer{412, "PreconditionFailed"}, "POST", path+"/plant/generateVerificationCode", nil, "If-Match", "OTk5")
	a.wants(answer{400, "InvalidHeaderValue"}, "POST", path+"/plant/generateVerificationCode", nil)
	coded := into[CertificateJSON](t, a.wants(ok, "POST", path+"/plant/generateVerificationCode", nil, "If-Match", created.ETag))
	if len(coded.Properties.VerificationCode) != 48 {
		t.Errorf("code is %q", coded.Properties.VerificationCode)
	}
	proof := func(a *ca.Authority) map[string]string {
		t.Helper()
		cert, err := a.Verification(coded.Properties.VerificationCode)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"certificate": pemBase64(cert)}
	}
	a.wants(answer{400, "ArgumentInvalid"}, "POST", path+"/plant/verify", proof(other), "If-Match", coded.ETag)
	a.wants(answer{412, "PreconditionFailed"}, "POST", path+"/plant/verify", proof(plant), "If-Match", created.ETag)
	verified := into[CertificateJSON](t, a.wants(ok, "POST", path+"/plant/verify", proof(plant), "If-Match", coded.ETag))
	if !verified.Properties.IsVerified || verified.Properties.VerificationCode != "" {
		t.Errorf("certificate is %+v", verified)
	}
	if c := into[CertificateJSON](t, a.wants(ok, "GET", path+"/plant", nil)); !c.Properties.IsVerified {
		t.Errorf("certificate is %+v", c)
	}
	a.wants(answer{Status: 201}, "PUT", path+"/other", description(other, true))
	if l := into[struct{ Value []CertificateJSON }](t, a.wants(ok, "GET", path, nil)).Value; len(l) != 2 || l[0].Name != "other" || !l[0].Properties.IsVerified {
		t.Errorf("certificates are %+v", l)
	}
	renewed := into[CertificateJSON](t, a.wants(ok, "PUT", path+"/plant", description(authority(t, "Plant root 2"), false), "If-Match", verified.ETag))
	if renewed.Properties.IsVerified || renewed.Properties.Subject != "Plant root 2" {
		t.Errorf("certificate is %+v", renewed)
	}
	a.wants(answer{404, "ResourceNotFound"}, "GET", path+"/nobody", nil)
	a.wants(answer{404, "ResourceNotFound"}, "GET", armPath+"/nobody/certificates/plant", nil)
	a.wants(answer{400, "ArgumentInvalid"}, "PUT", path+"/bad", `{"properties":{"certificate":"aGVsbG8="}}`)
	a.wants(answer{400, "InvalidHeaderValue"}, "DELETE", path+"/plant", nil)
	a.wants(answer{412, "PreconditionFailed"}, "DELETE", path+"/plant", nil, "If-Match", verified.ETag)
	a.wants(ok, "DELETE", path+"/plant", nil, "If-Match", renewed.ETag)
	a.wants(answer{Status: 204}, "DELETE", path+"/plant", nil, "If-Match", "*")
}
