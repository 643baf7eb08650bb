// Package mqtt speaks MQTT 3.1.1 and 5 with devices in the dialect of Azure IoT
// Hub: user name {host}/{device}/?api-version=..., client id = device id, fixed
// topics, QoS 0 and 1, no messages between devices.
//
// # Why there is no broker in it
//
// The packets are those of mochi-mqtt; its broker is not used, though it was
// tried. A hub is not a broker: nothing is routed, one device has one
// connection, and what can be said is five topics. On the broker every one of
// these had to be fought for (answers to one client only, no retained messages,
// refusal codes, a deadline before CONNECT, keep-alive overflow, sessions that
// outlive their connection), its decoder's panics on short packets end the
// process, and two goroutines and a queue for each connection cost more memory
// than TLS does. The session here is a reader and a short-lived writer: an idle
// device costs one goroutine with a small stack, and no buffer.
//
// # What is spoken
//
// A device publishes to devices/{id}/messages/events/{properties}. It gets
// PUBACK when the message is safe with the telemetry publisher, in the order of
// its PUBLISHes [MQTT-4.6.0-2]. It may read its twin
// ($iothub/twin/GET/?$rid=) and patch the reported properties, hears of changes
// of the desired ones, and answers direct methods. It may subscribe to
// cloud-to-device messages; there are none.
//
// Anything else ends the connection, as on Azure: other topics, QoS 2, a sixth
// subscription, messages above 256 KiB. RETAIN becomes the property mqtt-retain.
// A will is sent to telemetry, with the property iothub-MessageType=Will, when
// the connection ends without DISCONNECT. Sessions do not outlive connections:
// session present is always 0.
package mqtt
