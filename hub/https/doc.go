// Package https speaks HTTP/1.1 on a hub's HTTPS port: the device API of Azure
// IoT Hub, MQTT over WebSocket, and whatever management API is mounted.
//
//	POST /devices/{id}/messages/events       a message, or a batch; 204
//	GET  /devices/{id}/messages/deviceBound  a cloud-to-device message; 204, there is none
//	GET  /$iothub/websocket                  MQTT, subprotocol "mqtt"
//	everything else                          Config.Management
//
// A request names its device in the path and brings a SAS token in the header
// Authorization, or came over a connection with a client certificate. The first
// accepted request of a device on a connection opens its session, and the end of
// the connection closes it: the event log has one deviceConnect and one
// deviceDisconnect for each device and connection, not for each request. A
// session that the hub ends is closed at once; the next request must prove
// itself anew.
//
// TLS is done before a connection comes here: http.Server sees plain ones, and
// does not print or hide TLS errors.
package https
