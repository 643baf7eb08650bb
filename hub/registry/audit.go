package registry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// An Actor is who changes something.
type Actor struct {
	Type ActorType
	// Name of the shared access policy, the user or the program.
	Name string
	// Address that the request came from, masked; empty for none.
	Address string
}

// An ActorType is what an [Actor] is.
type ActorType string

// The types of actors.
const (
	ActorPolicy  ActorType = "policy"  // a client with a token of a shared access policy
	ActorToken   ActorType = "token"   // a client of the resource manager
	ActorCommand ActorType = "command" // the user of a command line
	ActorProgram ActorType = "program" // hubscope itself
)

type actorKey struct{}

// WithActor says who is behind the calls that are made with the context.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// Names of operations: Azure's, where it has the operation.
const (
	HubWrite          = "Microsoft.Devices/IotHubs/Write"
	HubDelete         = "Microsoft.Devices/IotHubs/Delete"
	CAWrite           = "Microsoft.Devices/IotHubs/certificates/Write"
	CADelete          = "Microsoft.Devices/IotHubs/certificates/Delete"
	CAGenerateCode    = "Microsoft.Devices/IotHubs/certificates/generateVerificationCode/Action"
	CAVerify          = "Microsoft.Devices/IotHubs/certificates/verify/Action"
	CRLWrite          = "Microsoft.Devices/IotHubs/certificates/revocationList/Write"
	DeviceWrite       = "Microsoft.Devices/IotHubs/devices/Write"
	DeviceDelete      = "Microsoft.Devices/IotHubs/devices/Delete"
	ModuleWrite       = "Microsoft.Devices/IotHubs/modules/Write"
	ModuleDelete      = "Microsoft.Devices/IotHubs/modules/Delete"
	auditCreate       = "Create"
	auditUpdate       = "Update"
	auditDelete       = "Delete"
	maxAuditedChanges = 64
)

// An AuditEntry is what somebody did to hubs, CAs, devices or modules, or tried to.
// Twins are not among them: they are devices' data.
type AuditEntry struct {
	Time      time.Time
	Operation string
	// Action is Create, Update or Delete.
	Action string
	Hub    string
	// Target is the hub, the CA, the device, or device/module.
	Target string
	Actor  Actor
	// Properties that changed, by their names; none when it failed.
	Properties map[string]Difference
	// Err is why it was not done; nil when it was.
	Err error
}

// A Difference is a property before and after a change; nil is its absence. Of a
// secret it is only said that it was replaced.
type Difference struct {
	Before   any  `json:"before,omitempty"`
	After    any  `json:"after,omitempty"`
	Replaced bool `json:"replaced,omitempty"`
}

// JSON returns the properties as an object.
func (c *AuditEntry) JSON() string {
	if len(c.Properties) == 0 {
		return "{}"
	}
	return string(encode(c.Properties))
}

// Result is the code of c.Err and what it says, "Success" without one. Errors of
// our own are not shown.
func (c *AuditEntry) Result() (code, description string) {
	if c.Err == nil {
		return "Success", ""
	}
	if e := codeOf(c.Err, "NotFound", "AlreadyExists"); e != nil {
		return e.code, clip(e.message)
	}
	return "ServerError", "An internal error has occurred"
}

// properties are what an audit shows of a record. What is not set is not there.
type properties map[string]any

// secret is a property that no audit shows.
type secret string

func (p properties) text(name, v string) {
	if v != "" {
		p[name] = v
	}
}

func (p properties) secret(name, v string) {
	if v != "" {
		p[name] = secret(v)
	}
}

func (h *Hub) audited() properties {
	p := properties{}
	if len(h.HostNames) > 0 {
		p["hostNames"] = slices.Clone(h.HostNames)
	}
	p.text("minTlsVersion", h.MinTLSVersion)
	p.text("location", h.Location)
	if len(h.Tags) > 0 {
		p["tags"] = maps.Clone(h.Tags)
	}
	if h.SKU != nil {
		p["sku"] = *h.SKU
	}
	for _, policy := range h.Policies {
		name := "authorizationPolicies." + policy.Name
		p.text(name+".rights", policy.Rights.String())
		p.secret(name+".primaryKey", policy.PrimaryKey)
		p.secret(name+".secondaryKey", policy.SecondaryKey)
	}
	return p
}

func (d *Device) audited() properties {
	p := properties{}
	p.text("status", string(d.Status))
	p.text("statusReason", d.StatusReason)
	p.text("managedBy", d.ManagedBy)
	p.text("authentication.type", string(d.Auth.Type))
	p.secret("authentication.symmetricKey.primaryKey", d.Auth.PrimaryKey)
	p.secret("authentication.symmetricKey.secondaryKey", d.Auth.SecondaryKey)
	p.text("authentication.x509Thumbprint.primaryThumbprint", d.Auth.PrimaryThumbprint)
	p.text("authentication.x509Thumbprint.secondaryThumbprint", d.Auth.SecondaryThumbprint)
	return p
}

func (c *CA) audited() properties {
	p := properties{"isVerified": c.Verified}
	p.text("subject", c.Subject())
	p.text("thumbprint", c.Thumbprint())
	p.text("expiry", c.Expiry().UTC().Format(time.RFC3339))
	p.secret("verificationCode", c.VerificationCode)
	return p
}

func (c *CRL) audited() properties {
	p := properties{"revoked": len(c.List.RevokedCertificateEntries)}
	p.text("thisUpdate", c.List.ThisUpdate.UTC().Format(time.RFC3339))
	if !c.List.NextUpdate.IsZero() {
		p.text("nextUpdate", c.List.NextUpdate.UTC().Format(time.RFC3339))
	}
	return p
}

// audit tells of a change. One that changed nothing is none.
func (r *Registry) audit(ctx context.Context, operation, action, hub, target string, before, after properties, err error) {
	if r.config.Audit == nil {
		return
	}
	c := AuditEntry{Time: r.now().UTC(), Operation: operation, Action: action, Hub: clip(hub), Target: clip(target), Actor: r.config.Actor, Err: err}
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		c.Actor = a
	}
	if err == nil {
		if c.Properties = differences(before, after); len(c.Properties) == 0 && action == auditUpdate {
			return
		}
	} else if errors.Is(err, context.Canceled) {
		return // nobody waits for it any more
	}
	r.config.Audit(ctx, c)
}

// differences are bounded: a record can be much larger than what one wants to
// read about it.
func differences(before, after properties) map[string]Difference {
	out := map[string]Difference{}
	left := 0
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		b, a := before[name], after[name]
		if reflect.DeepEqual(b, a) {
			continue
		}
		_, hidden := b.(secret)
		if _, ok := a.(secret); ok || hidden {
			if before == nil || after == nil {
				continue // all of it came, or went
			}
			b, a, hidden = nil, nil, true
		}
		if len(out) >= maxAuditedChanges {
			left++
			continue
		}
		out[name] = Difference{bounded(b), bounded(a), hidden}
	}
	if left > 0 {
		out["…"] = Difference{After: strconv.Itoa(left) + " more"}
	}
	return out
}

// was are the properties of a record that is gone.
func was[T interface{ audited() properties }](rec Record, decode func(Record) (T, error)) properties {
	v, err := decode(rec)
	if err != nil {
		return properties{} // it was damaged
	}
	return v.audited()
}

func union(a, b properties) properties {
	all := properties{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// bounded returns v, or the beginning of its JSON text when that is long.
func bounded(v any) any {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types always marshal
	}
	if len(b) <= 256 {
		return v
	}
	return clip(string(b))
}
