package https

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"

	"hubscope/hub"
	"hubscope/hub/registry"
)

// An entry is a device's session on a connection, and what opened it.
type entry struct {
	token string // SAS; empty for a certificate, which cannot change

	mu      sync.Mutex
	session *hub.Session
	ended   bool
}

// sdkOf returns the user agent where it is that of an SDK: over HTTPS there is
// no other place for it.
func sdkOf(userAgent string) string {
	if lower := strings.ToLower(userAgent); strings.Contains(lower, "azure") || strings.Contains(lower, "iothub") || strings.Contains(lower, "hubscope") {
		return userAgent
	}
	return ""
}

// authenticate returns the session of the device that a request names. A refused
// request is answered, and nil returned.
func (c *conversation) authenticate(w http.ResponseWriter, r *http.Request) *hub.Session {
	claim := hub.Claim{
		Host: r.Host, DeviceID: r.PathValue("device"), ModuleID: r.PathValue("module"), Token: r.Header.Get("Authorization"),
		UserAgent: r.UserAgent(), SDKVersion: sdkOf(r.UserAgent()),
	}
	key := deviceKey{strings.ToLower(claim.Host), claim.DeviceID, claim.ModuleID}
	e := c.sessions[key]
	if e != nil && e.session.Ended() {
		delete(c.sessions, key)
		e = nil
	}
	if e != nil {
		if e.token != claim.Token {
			if refusal := e.session.Renew(r.Context(), claim); refusal != nil {
				c.refuse(w, refusal)
				return nil
			}
			e.token = claim.Token
		}
		return e.session
	}
	e = &entry{token: claim.Token}
	claim.Cut = func(end hub.End) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ended = true
		if s := e.session; s != nil {
			c.cut(s, end)
		}
	}
	session, refusal := c.hub.Open(r.Context(), claim)
	if refusal != nil {
		end := hub.Refused(refusal)
		c.refused = &end
		c.refuse(w, refusal)
		return nil
	}
	e.mu.Lock()
	e.session = session
	ended := e.ended
	e.mu.Unlock()
	if ended { // before it was known here
		session.Close(hub.End{})
		writeError(w, http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
		return nil
	}
	c.sessions[key] = e
	return session
}

// refuse answers a request whose credentials are not accepted. A connection
// without a session is closed: who comes again shall be seen again.
func (c *conversation) refuse(w http.ResponseWriter, refusal *registry.Refusal) {
	if len(c.sessions) == 0 {
		w.Header().Set("Connection", "close")
	}
	status, code, message := refusal.Public()
	writeError(w, status, code, message)
}

// writeError answers in Azure's form.
func writeError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("iothub-errorcode", code)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"Message": "ErrorCode:" + code + ";" + message, "ExceptionMessage": ""})
}

func conversationOf(r *http.Request) *conversation {
	return r.Context().Value(contextKey{}).(*conversation)
}

// messages takes a message of a device, or a batch of them.
func (p *Protocol) messages(w http.ResponseWriter, r *http.Request) {
	c := conversationOf(r)
	session := c.authenticate(w, r)
	if session == nil {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxMessage))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeError(w, http.StatusRequestEntityTooLarge, hub.MessageTooLarge.Name, "The message is larger than 256 KiB")
		return
	case err != nil:
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusBadRequest, hub.FormatError.Name, "The body did not arrive")
		return
	}
	messages := []message{{propertiesOf(r.Header), body}}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/vnd.microsoft.iothub.json" {
		if messages, err = parseBatch(body); err != nil {
			writeError(w, http.StatusBadRequest, hub.FormatError.Name, "The body is not a batch of messages")
			return
		}
	}
	results := make(chan error, len(messages))
	for _, m := range messages {
		session.Publish(r.Context(), m.properties, m.body, func(err error) { results <- err })
	}
	for range messages {
		if e := <-results; e != nil {
			err = e
		}
	}
	if err != nil {
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, hub.ServiceUnavailable.Name, "The message could not be stored")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

type message struct {
	properties []hub.Property
	body       []byte
}

// systemHeaders are the headers that become system properties.
var systemHeaders = map[string]string{
	"iothub-messageid": "$.mid", "iothub-correlationid": "$.cid", "iothub-userid": "$.uid", "iothub-creationtimeutc": "$.ctime",
	"iothub-contenttype": "$.ct", "iothub-contentencoding": "$.ce",
}

// propertiesOf reads the properties of a message out of its headers, by name:
// HTTP does not keep their order.
func propertiesOf(h http.Header) []hub.Property {
	var list []hub.Property
	for name, values := range h {
		lower := strings.ToLower(name)
		property, ok := systemHeaders[lower]
		if !ok {
			if property, ok = strings.CutPrefix(lower, "iothub-app-"); !ok {
				continue
			}
		}
		list = append(list, hub.Property{Name: property, Value: strings.ToValidUTF8(values[0], "?")})
	}
	slices.SortFunc(list, func(a, b hub.Property) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// maxBatch bounds the messages of one request.
const maxBatch = 500

var errBatch = errors.New("not a batch of messages")

// parseBatch reads Azure's batch: an array of messages with properties named
// like the headers, and the body as base64 unless said otherwise.
func parseBatch(data []byte) ([]message, error) {
	var items []struct {
		Body       *string           `json:"body"`
		Base64     *bool             `json:"base64Encoded"`
		Properties map[string]string `json:"properties"`
	}
	if json.Unmarshal(data, &items) != nil || len(items) == 0 || len(items) > maxBatch {
		return nil, errBatch
	}
	var list []message
	for _, item := range items {
		if item.Body == nil {
			return nil, errBatch
		}
		body := []byte(*item.Body)
		if item.Base64 == nil || *item.Base64 {
			var err error
			if body, err = base64.StdEncoding.DecodeString(*item.Body); err != nil {
				return nil, errBatch
			}
		}
		h := make(http.Header, len(item.Properties))
		for name, value := range item.Properties {
			h[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
		}
		list = append(list, message{propertiesOf(h), body})
	}
	return list, nil
}

// isDeviceBound is about the name of a device's mailbox, which Azure takes in
// any case.
func isDeviceBound(r *http.Request) bool { return strings.EqualFold(r.PathValue("box"), "deviceBound") }

// poll answers a device that asks for cloud-to-device messages: there are none.
func (p *Protocol) poll(w http.ResponseWriter, r *http.Request) {
	if !isDeviceBound(r) {
		p.manage(w, r)
		return
	}
	if conversationOf(r).authenticate(w, r) != nil {
		w.WriteHeader(http.StatusNoContent)
	}
}

// settle answers a device that completes, rejects or abandons a message: none
// was given out, so its lock is not held.
func (p *Protocol) settle(w http.ResponseWriter, r *http.Request) {
	if !isDeviceBound(r) || r.Method != http.MethodDelete && r.Method != http.MethodPost {
		p.manage(w, r)
		return
	}
	if conversationOf(r).authenticate(w, r) != nil {
		writeError(w, http.StatusPreconditionFailed, "DeviceMessageLockLost", "The lock of the message is not held")
	}
}

// files answers a device that wants to upload one: there is no storage for that.
func (p *Protocol) files(w http.ResponseWriter, r *http.Request) {
	if conversationOf(r).authenticate(w, r) != nil {
		writeError(w, http.StatusBadRequest, hub.InvalidOperation.Name, "File upload is not configured for this IoT hub")
	}
}

// manage hands a request to the management API.
func (p *Protocol) manage(w http.ResponseWriter, r *http.Request) {
	c := conversationOf(r)
	if p.config.Management == nil {
		writeError(w, http.StatusNotFound, "NotFound", "There is nothing at this address")
		return
	}
	s := &statusWriter{ResponseWriter: w, closing: len(c.sessions) == 0}
	p.config.Management.ServeHTTP(s, r)
	switch authorization := r.Header.Get("Authorization"); {
	case s.status == http.StatusUnauthorized || s.status == http.StatusForbidden || authorization == "":
		end := hub.End{Result: hub.Unauthorized, Description: "a request to the management API without valid credentials"}
		c.hub.Claimed(hub.Claim{UserAgent: r.UserAgent(), Token: authorization})
		c.refused = &end
	default:
		policy := ""
		if token, err := registry.ParseToken(authorization); err == nil {
			policy = token.Policy
		}
		c.hub.Served(policy, r.UserAgent())
	}
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status  int
	closing bool // the connection, when the client is not let in
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
		if s.closing && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
			s.Header().Set("Connection", "close")
		}
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.WriteHeader(http.StatusOK)
	}
	return s.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
