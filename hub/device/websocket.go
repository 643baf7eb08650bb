package device

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// openWebSocket asks the hub to carry MQTT over a connection that is open
// already. MQTT packets may cross the bounds of messages ([MQTT-6.0.0-4]).
func openWebSocket(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	dialer := websocket.Dialer{
		Subprotocols:      []string{"mqtt"},
		NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	target := url.URL{Scheme: "wss", Host: host, Path: webSocketPath}
	ws, response, err := dialer.DialContext(ctx, target.String(), nil)
	if err != nil {
		if response != nil {
			return nil, &statusError{response.StatusCode, ""}
		}
		return nil, err
	}
	if ws.Subprotocol() != "mqtt" {
		return nil, errors.New("the hub did not choose the subprotocol mqtt")
	}
	return &webSocketConn{Conn: ws}, nil
}

// webSocketConn makes a byte stream of a WebSocket's binary messages.
type webSocketConn struct {
	*websocket.Conn
	reader io.Reader
}

func (c *webSocketConn) Read(p []byte) (int, error) {
	for {
		if c.reader == nil {
			kind, r, err := c.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("the hub sent a text message")
			}
			c.reader = r
		}
		n, err := c.reader.Read(p)
		if errors.Is(err, io.EOF) {
			c.reader = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (c *webSocketConn) Write(p []byte) (int, error) {
	if err := c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *webSocketConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
