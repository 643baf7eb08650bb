package registry

// A ConnectionString is what a device or a service is configured with.
type ConnectionString struct {
	HostName            string
	DeviceID            string
	ModuleID            string
	SharedAccessKeyName string
	SharedAccessKey     string
	GatewayHostName     string
	X509                bool
}

// ParseConnectionString parses "HostName=...;DeviceId=...;SharedAccessKey=...".
func ParseConnectionString(s string) (ConnectionString, error) { panic("soon") }

// String formats the connection string.
func (c ConnectionString) String() string { panic("soon") }
