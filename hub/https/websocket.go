package https

import (
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"hubscope/hub"
	"hubscope/ingest"
)

// upgrader refuses a browser's request from another site (its CheckOrigin is
// the default one): with a client certificate, a foreign page could speak for
// the user. Compression is not offered: it costs each connection far more
// memory than MQTT's few bytes are worth.
var upgrader = websocket.Upgrader{
	HandshakeTimeout: 5 * time.Second,
	ReadBufferSize:   1 << 10,
	WriteBufferSize:  1 << 10,
	Subprotocols:     []string{"mqtt"},
	Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
		writeError(w, status, "ArgumentInvalid", "The request is not one for a WebSocket that is served")
	},
}

// webSocket serves MQTT in a WebSocket (MQTT 3.1.1 and 5, section 6).
func (p *Protocol) webSocket(w http.ResponseWriter, r *http.Request) {
	c := conversationOf(r)
	if p.config.MQTT == nil || !hasSubprotocol(r) {
		c.refused = &hub.End{Result: hub.InvalidOperation, Description: "a WebSocket without the subprotocol mqtt"}
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusBadRequest, "ArgumentInvalid", "The subprotocol mqtt is needed")
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		c.refused = &hub.End{Result: hub.FormatError, Description: "a malformed request for a WebSocket"}
		return
	}
	c.hub.SetProtocol(ingest.MqttWs)
	stream := &wsStream{ws: ws}
	// A frame is read piece by piece, so its length costs nothing; MQTT has its
	// own limits.
	ws.SetReadLimit(1 << 20)
	speaker, end := p.config.MQTT(c.ctx, c.hub, stream, r.UserAgent())
	if speaker != nil {
		end = speaker.Speak(c.ctx)
	}
	c.mu.Lock()
	c.upgrade = &end
	c.mu.Unlock()
	stream.farewell()
	ws.Close()
}

func hasSubprotocol(r *http.Request) bool {
	for _, s := range websocket.Subprotocols(r) {
		if s == "mqtt" {
			return true
		}
	}
	return false
}

// wsStream is a WebSocket as a stream: MQTT packets may be cut into messages in
// any way [MQTT-6.0.0-2].
type wsStream struct {
	ws     *websocket.Conn
	reader io.Reader
}

func (s *wsStream) Read(p []byte) (int, error) {
	for {
		if s.reader == nil {
			typ, r, err := s.ws.NextReader()
			if err != nil {
				// The library makes its own error of an end without a closing
				// handshake, too.
				if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure) {
					err = io.EOF
				}
				return 0, err
			}
			if typ != websocket.BinaryMessage { // [MQTT-6.0.0-1]
				return 0, errText
			}
			s.reader = r
		}
		n, err := s.reader.Read(p)
		if err == io.EOF {
			s.reader = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

// errText ends the connection of a client that sends text.
var errText = &websocket.CloseError{Code: websocket.CloseUnsupportedData, Text: "MQTT travels in binary messages"}

func (s *wsStream) Write(p []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// farewell sends the closing handshake, and does not wait for the answer.
func (s *wsStream) farewell() {
	s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
}

func (s *wsStream) Close() error                       { return s.ws.Close() }
func (s *wsStream) LocalAddr() net.Addr                { return s.ws.LocalAddr() }
func (s *wsStream) RemoteAddr() net.Addr               { return s.ws.RemoteAddr() }
func (s *wsStream) SetReadDeadline(t time.Time) error  { return s.ws.SetReadDeadline(t) }
func (s *wsStream) SetWriteDeadline(t time.Time) error { return s.ws.SetWriteDeadline(t) }

func (s *wsStream) SetDeadline(t time.Time) error {
	s.ws.SetReadDeadline(t)
	return s.ws.SetWriteDeadline(t)
}
