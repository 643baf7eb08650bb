package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseConnectionString(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     ConnectionString
	}{
		{"device", "HostName=localhost;DeviceId=pump-0417;SharedAccessKey=" + testKey,
			ConnectionString{HostName: "localhost", DeviceID: "pump-0417", SharedAccessKey: testKey}},
		{"x509", "HostName=localhost;DeviceId=pump-0417;x509=true",
			ConnectionString{HostName: "localhost", DeviceID: "pump-0417", X509: true}},
		{"service", "HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=" + testKey,
			ConnectionString{HostName: "localhost", SharedAccessKeyName: "iothubowner", SharedAccessKey: testKey}},
		{"names in any case, spaces and a last semicolon", " hostname=h;DEVICEID=d;X509=True;\n",
			ConnectionString{HostName: "h", DeviceID: "d", X509: true}},
		{"gateway", "HostName=h;DeviceId=d;GatewayHostName=g;SharedAccessSignature=SharedAccessSignature sr=a&sig=b&se=1",
			ConnectionString{HostName: "h", DeviceID: "d", GatewayHostName: "g", SharedAccessSignature: "SharedAccessSignature sr=a&sig=b&se=1"}},
		{"odd device id", "HostName=h;DeviceId=" + oddID + ";x509=true",
			ConnectionString{HostName: "h", DeviceID: oddID, X509: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseConnectionString(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("connection string (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseConnectionStringRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "connection string: HostName is missing"},
		{"no host", "DeviceId=d;x509=true", "connection string: HostName is missing"},
		{"nobody", "HostName=h;x509=true", "connection string: neither DeviceId nor SharedAccessKeyName is there"},
		{"no credentials", "HostName=h;DeviceId=d", "connection string: one of SharedAccessKey, SharedAccessSignature and x509=true is needed"},
		{"two credentials", "HostName=h;DeviceId=d;x509=true;SharedAccessKey=" + testKey, "connection string: one of SharedAccessKey, SharedAccessSignature and x509=true is needed"},
		{"key", "HostName=h;DeviceId=d;SharedAccessKey=secret!", "connection string: SharedAccessKey: is not base64"},
		{"twice", "HostName=h;HostName=i", "connection string: HostName occurs twice"},
		{"unknown", "HostName=h;Device=d", `connection string: unknown property "Device"`},
		{"no value", "HostName=h;DeviceId=;x509=true", "connection string: DeviceId is empty"},
		{"no equals", "HostName", `connection string: a part has no "="`},
		{"x509", "HostName=h;DeviceId=d;x509=yes", "connection string: x509 is neither true nor false"},
		{"module alone", "HostName=h;ModuleId=m;SharedAccessKeyName=n;x509=true", "connection string: ModuleId without DeviceId"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConnectionString(tt.in)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
		})
	}
}

// FuzzParseConnectionString: what parses is written and parses to the same.
func FuzzParseConnectionString(f *testing.F) {
	f.Add("HostName=localhost;DeviceId=pump-0417;SharedAccessKey=" + testKey)
	f.Add("HostName=h;DeviceId=" + oddID + ";x509=true")
	f.Add("hostname=h;sharedaccesskeyname=a=b;SharedAccessSignature= =;;x509=false")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConnectionString(s)
		if err != nil {
			return
		}
		again, err := ParseConnectionString(c.String())
		if err != nil {
			t.Fatalf("%q: %v", c.String(), err)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("%q (-first +second):\n%s", s, diff)
		}
	})
}
