package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Shell is what the commands of this package work on. The program that
// composes them binds one (with kong, by a provider, so that "help" needs no
// registry).
type Shell struct {
	Registry *Registry
	// Hub is used when a command names none; when empty, the only hub there is.
	Hub string
	Out io.Writer
}

// Output is the flag of commands that print records.
type Output struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"Print a table or json."`
}

// HubFlag is the flag of commands that work on one hub.
type HubFlag struct {
	Hub string `placeholder:"NAME" env:"HUBSCOPE_HUB" help:"The hub; may be left out when there is only one."`
}

// hub returns the hub that the user means.
func (f HubFlag) hub(ctx context.Context, s *Shell) (*Hub, error) {
	name := f.Hub
	if name == "" {
		name = s.Hub
	}
	if name != "" {
		return s.Registry.Hub(ctx, name)
	}
	hubs, err := s.Registry.Hubs(ctx)
	if err != nil {
		return nil, err
	}
	switch len(hubs) {
	case 1:
		return hubs[0], nil
	case 0:
		return nil, errors.New("the registry has no hub; make one with: hubscope hub create NAME")
	}
	var names []string
	for _, h := range hubs {
		names = append(names, h.Name)
	}
	return nil, fmt.Errorf("there are several hubs (%s); choose one with --hub", strings.Join(names, ", "))
}

// RegistryCommand is "hubscope registry".
type RegistryCommand struct {
	Add     AddDeviceCommand     `cmd:"" help:"Register a device and print its connection string."`
	List    ListDevicesCommand   `cmd:"" help:"List devices."`
	Show    ShowDeviceCommand    `cmd:"" help:"Show a device with its credentials."`
	Enable  EnableDeviceCommand  `cmd:"" help:"Let devices connect again."`
	Disable DisableDeviceCommand `cmd:"" help:"Keep devices from connecting, and cut them when they are connected."`
	Delete  DeleteDeviceCommand  `cmd:"" help:"Remove devices."`
	Token   TokenCommand         `cmd:"" help:"Sign a SAS token for a device, as the password of any MQTT client."`
}

// AddDeviceCommand is "hubscope registry add".
type AddDeviceCommand struct {
	HubFlag
	Output
	ID                  string `arg:"" help:"Device id: 1 to 128 letters, digits and -.%_*?!(),:=@$'"`
	Auth                string `enum:"sas,x509-ca,x509-thumbprint" default:"sas" help:"How the device authenticates: sas, x509-ca or x509-thumbprint."`
	PrimaryKey          string `placeholder:"BASE64" help:"Symmetric key (sas); made when left out."`
	SecondaryKey        string `placeholder:"BASE64" help:"Second symmetric key (sas); made when left out."`
	Thumbprint          string `placeholder:"HEX" help:"SHA-1 or SHA-256 of the certificate (x509-thumbprint)."`
	SecondaryThumbprint string `placeholder:"HEX" help:"The same of a second certificate."`
	Cert                []byte `placeholder:"FILE" type:"filecontent" help:"Take the thumbprint (SHA-256) of this certificate."`
	Disabled            bool   `help:"Register it disabled."`
}

// Run registers the device.
func (c *AddDeviceCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	d := Device{Hub: hub.Name, ID: c.ID, Status: Enabled, Auth: Authentication{
		PrimaryKey: c.PrimaryKey, SecondaryKey: c.SecondaryKey,
		PrimaryThumbprint: c.Thumbprint, SecondaryThumbprint: c.SecondaryThumbprint,
	}}
	if c.Disabled {
		d.Status = Disabled
	}
	switch c.Auth {
	case "x509-ca":
		d.Auth.Type = AuthCA
	case "x509-thumbprint":
		d.Auth.Type = AuthThumbprint
	default:
		d.Auth.Type = AuthSAS
	}
	if len(c.Cert) > 0 {
		if c.Thumbprint != "" {
			return errors.New("--thumbprint and --cert exclude each other")
		}
		cert, err := ParseCertificate(c.Cert)
		if err != nil {
			return fmt.Errorf("--cert: %w", err)
		}
		_, d.Auth.PrimaryThumbprint = Thumbprints(cert)
	}
	if d.Auth.Type == AuthThumbprint && d.Auth.PrimaryThumbprint == "" && d.Auth.SecondaryThumbprint == "" {
		return errors.New("--auth x509-thumbprint needs --thumbprint or --cert")
	}
	created, err := s.Registry.CreateDevice(ctx, d)
	if err != nil {
		return err
	}
	return c.print(s, hub, created)
}

func (o Output) print(s *Shell, hub *Hub, d *Device) error {
	j := d.JSON()
	j.ConnectionString = d.ConnectionString(hub.HostName())
	if o.Output == "json" {
		return printJSON(s.Out, j)
	}
	rows := [][]string{
		{"device", d.ID}, {"hub", hub.Name}, {"status", string(d.Status)},
	}
	if d.StatusReason != "" {
		rows = append(rows, []string{"reason", d.StatusReason})
	}
	rows = append(rows, []string{"auth", d.Auth.Type.EventName()})
	for _, r := range [][]string{
		{"primary key", d.Auth.PrimaryKey}, {"secondary key", d.Auth.SecondaryKey},
		{"primary thumbprint", d.Auth.PrimaryThumbprint}, {"secondary thumbprint", d.Auth.SecondaryThumbprint},
	} {
		if r[1] != "" {
			rows = append(rows, r)
		}
	}
	rows = append(rows, []string{"created", moment(d.Created)}, []string{"connection string", j.ConnectionString})
	return printTable(s.Out, rows)
}

// ListDevicesCommand is "hubscope registry list".
type ListDevicesCommand struct {
	HubFlag
	Output
	Status string `enum:",enabled,disabled" default:"" help:"Only those enabled or disabled."`
}

// Run lists the devices, sorted by id.
func (c *ListDevicesCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	devices := map[string]*Device{} // one that changes meanwhile comes again
	for page := (Page{Limit: maxPage}); ; {
		some, next, err := s.Registry.Devices(ctx, hub.Name, page)
		if err != nil {
			return err
		}
		for _, d := range some {
			devices[d.ID] = d
		}
		if next == 0 {
			break
		}
		page.After = next
	}
	list := []DeviceJSON{}
	rows := [][]string{{"DEVICE", "STATUS", "AUTH", "CREATED", "REASON"}}
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		d := devices[id]
		if c.Status != "" && string(d.Status) != c.Status {
			continue
		}
		j := d.JSON()
		j.ConnectionString = d.ConnectionString(hub.HostName())
		list = append(list, j)
		rows = append(rows, []string{id, string(d.Status), d.Auth.Type.EventName(), moment(d.Created), d.StatusReason})
	}
	if c.Output.Output == "json" {
		return printJSON(s.Out, list)
	}
	return printTable(s.Out, rows)
}

// ShowDeviceCommand is "hubscope registry show".
type ShowDeviceCommand struct {
	HubFlag
	Output
	ID string `arg:"" help:"Device id."`
}

// Run shows the device.
func (c *ShowDeviceCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	d, err := s.Registry.Device(ctx, hub.Name, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, hub, d)
}

// DevicesArgument is the argument of commands that work on several devices.
type DevicesArgument struct {
	HubFlag
	Output
	IDs []string `arg:"" name:"id" help:"Device ids."`
}

// each calls f for each device, and goes on when one fails. It prints what was
// done; as JSON what f returns, in an array if there are several.
func (c DevicesArgument) each(ctx context.Context, s *Shell, done string, f func(hub *Hub, id string) (any, error)) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	var errs []error
	results := []any{}
	for _, id := range c.IDs {
		result, err := f(hub, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		results = append(results, result)
		if c.Output.Output != "json" {
			fmt.Fprintf(s.Out, "%s %s\n", id, done)
		}
	}
	if c.Output.Output == "json" {
		var v any = results
		if len(c.IDs) == 1 && len(results) == 1 {
			v = results[0]
		}
		if len(results) > 0 {
			errs = append(errs, printJSON(s.Out, v))
		}
	}
	return errors.Join(errs...)
}

// set changes the devices and returns them as JSON.
func (c DevicesArgument) set(ctx context.Context, s *Shell, done string, change func(*Device)) error {
	return c.each(ctx, s, done, func(hub *Hub, id string) (any, error) {
		d, err := s.Registry.UpdateDevice(ctx, hub.Name, id, "", func(d *Device) error {
			change(d)
			return nil
		})
		if err != nil {
			return nil, err
		}
		j := d.JSON()
		j.ConnectionString = d.ConnectionString(hub.HostName())
		return j, nil
	})
}

// EnableDeviceCommand is "hubscope registry enable".
type EnableDeviceCommand struct{ DevicesArgument }

// Run enables the devices.
func (c *EnableDeviceCommand) Run(ctx context.Context, s *Shell) error {
	return c.set(ctx, s, "enabled", func(d *Device) { d.Status, d.StatusReason = Enabled, "" })
}

// DisableDeviceCommand is "hubscope registry disable".
type DisableDeviceCommand struct {
	DevicesArgument
	Reason string `placeholder:"TEXT" help:"Why, in up to 128 characters."`
}

// Run disables the devices.
func (c *DisableDeviceCommand) Run(ctx context.Context, s *Shell) error {
	return c.set(ctx, s, "disabled", func(d *Device) { d.Status, d.StatusReason = Disabled, c.Reason })
}

// DeleteDeviceCommand is "hubscope registry delete".
type DeleteDeviceCommand struct{ DevicesArgument }

// Run deletes the devices.
func (c *DeleteDeviceCommand) Run(ctx context.Context, s *Shell) error {
	return c.each(ctx, s, "deleted", func(hub *Hub, id string) (any, error) {
		return map[string]string{"deviceId": id, "status": "deleted"}, s.Registry.DeleteDevice(ctx, hub.Name, id, "")
	})
}

// TokenCommand is "hubscope registry token".
type TokenCommand struct {
	HubFlag
	ID        string        `arg:"" help:"Device id."`
	TTL       time.Duration `name:"ttl" default:"1h" help:"How long the token is good."`
	Secondary bool          `help:"Sign with the secondary key."`
}

// Run prints the token.
func (c *TokenCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	d, err := s.Registry.Device(ctx, hub.Name, c.ID)
	if err != nil {
		return err
	}
	if d.Auth.Type != AuthSAS {
		return fmt.Errorf("device %q authenticates with %s, not with SAS", d.ID, d.Auth.Type.EventName())
	}
	key := d.Auth.PrimaryKey
	if c.Secondary {
		key = d.Auth.SecondaryKey
	}
	token, err := NewToken(hub.HostName()+"/devices/"+d.ID, "", key, s.Registry.now().Add(c.TTL))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.Out, token)
	return err
}

// CACommand is "hubscope ca": the authorities that a hub trusts for its devices.
type CACommand struct {
	Add    AddCACommand    `cmd:"" help:"Upload a CA certificate; it authenticates devices once it is verified."`
	List   ListCAsCommand  `cmd:"" help:"List CA certificates."`
	Show   ShowCACommand   `cmd:"" help:"Show a CA certificate."`
	Code   CodeCommand     `cmd:"" help:"Make a verification code: the common name of the certificate that proves possession of the CA's key."`
	Verify VerifyCACommand `cmd:"" help:"Prove possession with a certificate signed by the CA."`
	CRL    CRLCommand      `cmd:"" name:"crl" help:"Upload the CA's revocation list; revoked devices are cut."`
	Delete DeleteCACommand `cmd:"" help:"Remove CA certificates; their devices are cut."`
}

// AddCACommand is "hubscope ca add".
type AddCACommand struct {
	HubFlag
	Output
	Name        string `arg:"" help:"A name of your own: letters, digits and -._"`
	Certificate []byte `arg:"" name:"file" type:"filecontent" help:"The certificate as PEM or DER; - reads standard input."`
	Verified    bool   `help:"Trust it without proof of possession."`
}

// Run uploads the CA.
func (c *AddCACommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	ca, err := s.Registry.CreateCA(ctx, hub.Name, c.Name, c.Certificate, c.Verified)
	if err != nil {
		return err
	}
	return c.printCA(ctx, s, ca)
}

func (o Output) printCA(ctx context.Context, s *Shell, ca *CA) error {
	crl, err := s.Registry.CRL(ctx, ca.Hub, ca.Name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	revoked := 0
	if crl != nil {
		revoked = len(crl.List.RevokedCertificateEntries)
	}
	if o.Output == "json" {
		j := ca.JSON()
		j.Properties.VerificationCode = ca.VerificationCode
		if crl != nil {
			j.Properties.Revoked = &revoked
		}
		return printJSON(s.Out, j)
	}
	rows := [][]string{
		{"CA", ca.Name}, {"hub", ca.Hub}, {"subject", ca.Subject()}, {"thumbprint", ca.Thumbprint()},
		{"expires", moment(ca.Expiry())}, {"verified", yesNo(ca.Verified)},
	}
	if ca.VerificationCode != "" {
		rows = append(rows, []string{"verification code", ca.VerificationCode})
	}
	if crl != nil {
		rows = append(rows, []string{"revoked certificates", fmt.Sprint(revoked)},
			[]string{"list of", moment(crl.List.ThisUpdate)})
		if !crl.List.NextUpdate.IsZero() {
			rows = append(rows, []string{"next list", moment(crl.List.NextUpdate)})
		}
	}
	return printTable(s.Out, rows)
}

// ListCAsCommand is "hubscope ca list".
type ListCAsCommand struct {
	HubFlag
	Output
}

// Run lists the CAs.
func (c *ListCAsCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	cas, err := s.Registry.CAs(ctx, hub.Name)
	if err != nil {
		return err
	}
	list := []CertificateJSON{}
	rows := [][]string{{"CA", "VERIFIED", "SUBJECT", "EXPIRES", "THUMBPRINT"}}
	for _, ca := range cas {
		list = append(list, ca.JSON())
		rows = append(rows, []string{ca.Name, yesNo(ca.Verified), ca.Subject(), moment(ca.Expiry()), ca.Thumbprint()})
	}
	if c.Output.Output == "json" {
		return printJSON(s.Out, list)
	}
	return printTable(s.Out, rows)
}

// CAArgument is the argument of commands that work on one CA.
type CAArgument struct {
	HubFlag
	Output
	Name string `arg:"" help:"The CA's name."`
}

// ShowCACommand is "hubscope ca show".
type ShowCACommand struct{ CAArgument }

// Run shows the CA.
func (c *ShowCACommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	ca, err := s.Registry.CA(ctx, hub.Name, c.Name)
	if err != nil {
		return err
	}
	return c.printCA(ctx, s, ca)
}

// CodeCommand is "hubscope ca code".
type CodeCommand struct{ CAArgument }

// Run makes a code and prints it alone, for scripts.
func (c *CodeCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	ca, err := s.Registry.GenerateVerificationCode(ctx, hub.Name, c.Name, "")
	if err != nil {
		return err
	}
	if c.Output.Output == "json" {
		return c.printCA(ctx, s, ca)
	}
	_, err = fmt.Fprintln(s.Out, ca.VerificationCode)
	return err
}

// VerifyCACommand is "hubscope ca verify".
type VerifyCACommand struct {
	CAArgument
	Certificate []byte `arg:"" name:"file" type:"filecontent" help:"The verification certificate as PEM or DER; - reads standard input."`
}

// Run verifies the CA.
func (c *VerifyCACommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	ca, err := s.Registry.VerifyCA(ctx, hub.Name, c.Name, "", c.Certificate)
	if err != nil {
		return err
	}
	return c.printCA(ctx, s, ca)
}

// CRLCommand is "hubscope ca crl".
type CRLCommand struct {
	CAArgument
	List []byte `arg:"" name:"file" type:"filecontent" help:"The revocation list as PEM or DER; - reads standard input."`
}

// Run stores the list.
func (c *CRLCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := c.hub(ctx, s)
	if err != nil {
		return err
	}
	if _, err := s.Registry.SetCRL(ctx, hub.Name, c.Name, c.List); err != nil {
		return err
	}
	ca, err := s.Registry.CA(ctx, hub.Name, c.Name)
	if err != nil {
		return err
	}
	return c.printCA(ctx, s, ca)
}

// DeleteCACommand is "hubscope ca delete".
type DeleteCACommand struct {
	HubFlag
	Output
	Names []string `arg:"" name:"name" help:"The CAs' names."`
}

// Run deletes the CAs.
func (c *DeleteCACommand) Run(ctx context.Context, s *Shell) error {
	return DevicesArgument{c.HubFlag, c.Output, c.Names}.each(ctx, s, "deleted", func(hub *Hub, name string) (any, error) {
		return map[string]string{"name": name, "status": "deleted"}, s.Registry.DeleteCA(ctx, hub.Name, name, "")
	})
}

// HubCommand is the management part of "hubscope hub".
type HubCommand struct {
	List   ListHubsCommand  `cmd:"" help:"List hubs."`
	Show   ShowHubCommand   `cmd:"" help:"Show a hub with its connection strings."`
	Create CreateHubCommand `cmd:"" help:"Make a hub."`
	Set    SetHubCommand    `cmd:"" help:"Change a hub; connections made from now on obey."`
	Apply  ApplyHubCommand  `cmd:"" help:"Make or change hubs as an Azure Resource Manager template says."`
	Delete DeleteHubCommand `cmd:"" help:"Remove a hub with its devices and CAs."`
}

// HubJSON is a hub as "hubscope hub" prints it.
type HubJSON struct {
	Name          string            `json:"name"`
	HostNames     []string          `json:"hostNames"`
	MinTLSVersion string            `json:"minTlsVersion"`
	Location      string            `json:"location,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
	ETag          string            `json:"etag"`
	Created       string            `json:"created"`
	Updated       string            `json:"updated"`
	// ConnectionStrings are those of the shared access policies, by name.
	ConnectionStrings map[string]string `json:"connectionStrings,omitempty"`
}

// JSON returns the hub without its keys.
func (h *Hub) JSON() HubJSON {
	return HubJSON{h.Name, h.HostNames, h.MinTLSVersion, h.Location, h.Tags, h.ETag(), azureTime(h.Created), azureTime(h.Updated), nil}
}

// printHub shows a hub. Its keys are only for who asks for them.
func (o Output) printHub(s *Shell, h *Hub, keys bool) error {
	j := h.JSON()
	rows := [][]string{
		{"hub", h.Name}, {"host names", strings.Join(h.HostNames, ", ")}, {"min TLS", h.MinTLSVersion + legacyNote(h)}, {"created", moment(h.Created)},
	}
	if keys {
		j.ConnectionStrings = map[string]string{}
		for _, p := range h.Policies {
			j.ConnectionStrings[p.Name] = h.ServiceConnectionString(p)
			rows = append(rows, []string{"policy " + p.Name, p.Rights.String()}, []string{"", j.ConnectionStrings[p.Name]})
		}
	}
	if o.Output == "json" {
		return printJSON(s.Out, j)
	}
	return printTable(s.Out, rows)
}

func legacyNote(h *Hub) string {
	if h.Legacy() {
		return " (legacy: weak suites are served too)"
	}
	return ""
}

// ServiceConnectionString returns what a service is configured with that uses
// the shared access policy.
func (h *Hub) ServiceConnectionString(p Policy) string {
	return ConnectionString{HostName: h.HostName(), SharedAccessKeyName: p.Name, SharedAccessKey: p.PrimaryKey}.String()
}

// ListHubsCommand is "hubscope hub list".
type ListHubsCommand struct{ Output }

// Run lists the hubs.
func (c *ListHubsCommand) Run(ctx context.Context, s *Shell) error {
	hubs, err := s.Registry.Hubs(ctx)
	if err != nil {
		return err
	}
	list := []HubJSON{}
	rows := [][]string{{"HUB", "MIN TLS", "HOST NAMES", "CREATED"}}
	for _, h := range hubs {
		list = append(list, h.JSON())
		rows = append(rows, []string{h.Name, h.MinTLSVersion, strings.Join(h.HostNames, ", "), moment(h.Created)})
	}
	if c.Output.Output == "json" {
		return printJSON(s.Out, list)
	}
	return printTable(s.Out, rows)
}

// ShowHubCommand is "hubscope hub show".
type ShowHubCommand struct {
	Output
	Name string `arg:"" optional:"" help:"The hub; may be left out when there is only one."`
}

// Run shows the hub.
func (c *ShowHubCommand) Run(ctx context.Context, s *Shell) error {
	hub, err := HubFlag{c.Name}.hub(ctx, s)
	if err != nil {
		return err
	}
	return c.printHub(s, hub, true)
}

// CreateHubCommand is "hubscope hub create".
type CreateHubCommand struct {
	Output
	Name   string   `arg:"" help:"Name of the hub: 3 to 50 letters, digits and hyphens."`
	Host   []string `placeholder:"NAME" help:"Host name under which clients reach it; may be repeated."`
	MinTLS string   `name:"min-tls" enum:"1.0,1.2,1.3" default:"1.2" help:"Minimum TLS version: 1.0, 1.2 or 1.3."`
}

// Run makes the hub.
func (c *CreateHubCommand) Run(ctx context.Context, s *Shell) error {
	h, err := s.Registry.CreateHub(ctx, Hub{Name: c.Name, HostNames: c.Host, MinTLSVersion: c.MinTLS})
	if err != nil {
		return err
	}
	return c.printHub(s, h, false)
}

// SetHubCommand is "hubscope hub set".
type SetHubCommand struct {
	Output
	Name    string   `arg:"" help:"The hub."`
	MinTLS  string   `name:"min-tls" enum:",1.0,1.2,1.3" default:"" placeholder:"VERSION" help:"Minimum TLS version: 1.0, 1.2 or 1.3."`
	AddHost []string `placeholder:"NAME" help:"A further host name; may be repeated."`
}

// Run changes the hub.
func (c *SetHubCommand) Run(ctx context.Context, s *Shell) error {
	if c.MinTLS == "" && len(c.AddHost) == 0 {
		return errors.New("nothing to set: give --min-tls or --add-host")
	}
	h, err := s.Registry.UpdateHub(ctx, c.Name, "", func(h *Hub) error {
		if c.MinTLS != "" {
			h.MinTLSVersion = c.MinTLS
		}
		for _, n := range c.AddHost {
			if !h.Answers(n) {
				h.HostNames = append(h.HostNames, n)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.printHub(s, h, false)
}

// ApplyHubCommand is "hubscope hub apply".
type ApplyHubCommand struct {
	Output
	Template  []byte            `arg:"" name:"file" type:"filecontent" help:"The template, as JSON; - reads standard input."`
	Parameter map[string]string `short:"p" placeholder:"NAME=VALUE" help:"Value of a parameter of the template; may be repeated."`
	Name      string            `placeholder:"NAME" help:"The hub's name, in the place of the one in the template."`
	DryRun    bool              `help:"Only check the template."`
}

// Run checks the whole template and then applies it.
func (c *ApplyHubCommand) Run(ctx context.Context, s *Shell) error {
	hubs, err := parseTemplate(c.Template, c.Parameter, c.Name)
	if err != nil {
		return err
	}
	list := []HubJSON{}
	for i := range hubs {
		if c.DryRun {
			if c.Output.Output != "json" {
				fmt.Fprintf(s.Out, "%s is valid\n", hubs[i].Name)
			}
			continue
		}
		h, created, err := s.Registry.applyHub(ctx, hubs[i].Name, "", &hubs[i])
		if err != nil {
			return err
		}
		list = append(list, h.JSON())
		done := "updated"
		if created {
			done = "created"
		}
		if c.Output.Output != "json" {
			fmt.Fprintf(s.Out, "%s %s: min TLS %s, %s\n", h.Name, done, h.MinTLSVersion, strings.Join(h.HostNames, ", "))
		}
	}
	if c.Output.Output == "json" {
		return printJSON(s.Out, list)
	}
	return nil
}

// DeleteHubCommand is "hubscope hub delete".
type DeleteHubCommand struct {
	Output
	Name string `arg:"" help:"The hub."`
}

// Run deletes the hub.
func (c *DeleteHubCommand) Run(ctx context.Context, s *Shell) error {
	if err := s.Registry.DeleteHub(ctx, c.Name, ""); err != nil {
		return err
	}
	if c.Output.Output == "json" {
		return printJSON(s.Out, map[string]string{"name": c.Name, "status": "deleted"})
	}
	_, err := fmt.Fprintf(s.Out, "%s deleted\n", c.Name)
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// printTable aligns columns, without blanks at the ends of lines.
func printTable(w io.Writer, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
