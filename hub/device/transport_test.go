package device

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"hubscope/hub/ca"
	"hubscope/hub/registry"
)

// webServer serves the parts of a hub's HTTPS port that devices use.
func webServer(t *testing.T, handler http.Handler) Config {
	t.Helper()
	root, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "root"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.Server(ca.ServerConfig{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}}
	server.StartTLS()
	t.Cleanup(server.Close)
	config := Config{HostName: "localhost", DeviceID: "pump,1", Address: server.Listener.Addr().String(), SDK: "test/1", Key: registry.GenerateKey()}
	config.Roots = root.Pool()
	return config
}

func TestHTTPS(t *testing.T) {
	type request struct {
		Method, Path, Query, To, Alert, ContentType, UserAgent, Body string
		Token                                                        string
	}
	var got []request
	remotes := map[string]bool{}
	config := webServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		token, err := registry.ParseToken(r.Header.Get("Authorization"))
		if err != nil {
			t.Error(err)
		}
		got = append(got, request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("iothub-to"), r.Header.Get("iothub-app-temperatureAlert"),
			r.Header.Get("Content-Type"), r.UserAgent(), string(body), token.Resource})
		remotes[r.RemoteAddr] = true
		if len(got) > 2 {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	config.Transport = HTTPS
	session := connect(t, config)
	for range 2 {
		if err := session.Send(t.Context(), NewTelemetry("pump,1", 21, 60)); err != nil {
			t.Fatal(err)
		}
	}
	want := request{"POST", "/devices/pump%2C1/messages/events", "api-version=2021-04-12", "/devices/pump%2C1/messages/events", "false",
		"application/json", "test/1", `{"deviceId":"pump,1","temperature":21,"humidity":60}`, "localhost/devices/pump,1"}
	if diff := cmp.Diff([]request{want, want}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if len(remotes) != 1 {
		t.Errorf("the requests came over %d connections", len(remotes))
	}
	if err := session.Send(t.Context(), NewTelemetry("pump,1", 21, 60)); err == nil || !strings.HasPrefix(err.Error(), `the hub did not let device "pump,1" in`) {
		t.Errorf("error is %v", err)
	}
}

// TestWebSocket: MQTT over WebSocket, with a peer that cuts packets into
// messages as it likes.
func TestWebSocket(t *testing.T) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}}
	connects := make(chan *packets.ConnectPacket, 1)
	published := make(chan *packets.PublishPacket, 1)
	config := webServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/$iothub/websocket" {
			http.NotFound(w, r)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		conn := &webSocketConn{Conn: ws}
		for {
			packet, err := packets.ReadPacket(conn)
			if err != nil {
				return
			}
			var answer packets.ControlPacket
			switch p := packet.(type) {
			case *packets.ConnectPacket:
				connects <- p
				answer = packets.NewControlPacket(packets.Connack)
			case *packets.PublishPacket:
				published <- p
				ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
				ack.MessageID = p.MessageID
				answer = ack
			default:
				return
			}
			if err := answer.Write(byteByByte{conn}); err != nil {
				t.Error(err)
			}
		}
	}))
	config.Transport = MQTTWebSocket
	session := connect(t, config)
	c := <-connects
	if c.Username != "localhost/pump,1/?api-version=2021-04-12&DeviceClientType=test%2F1" || c.ClientIdentifier != "pump,1" || c.ProtocolVersion != 4 {
		t.Errorf("CONNECT is %v", c)
	}
	if err := session.Send(t.Context(), NewTelemetry("pump,1", 21, 60)); err != nil {
		t.Fatal(err)
	}
	if p := <-published; p.TopicName != "devices/pump,1/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&temperatureAlert=false" || p.Qos != 1 {
		t.Errorf("PUBLISH is %v", p)
	}
}

// byteByByte sends each byte in a message of its own.
type byteByByte struct{ net.Conn }

func (b byteByByte) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestWebSocketRefused(t *testing.T) {
	config := webServer(t, http.NotFoundHandler())
	config.Transport = MQTTWebSocket
	if _, err := Connect(t.Context(), config); err == nil || err.Error() != "the hub answered with status 404" {
		t.Errorf("error is %v", err)
	}
	upgrader := websocket.Upgrader{}
	config = webServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			ws.Close()
		}
	}))
	config.Transport = MQTTWebSocket
	if _, err := Connect(t.Context(), config); err == nil || err.Error() != "websocket: the hub did not choose the subprotocol mqtt" {
		t.Errorf("error is %v", err)
	}
}
