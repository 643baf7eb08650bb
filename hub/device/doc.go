// Package device simulates IoT devices: real TLS clients that speak to a hub as
// devices on Azure's SDKs do, over MQTT, MQTT over WebSocket, or HTTPS.
//
//	session, err := device.Connect(ctx, device.Config{
//		HostName: "localhost", DeviceID: "pump-0417", Key: key, Roots: roots,
//	})
//	fmt.Println(session.Facts().Version, session.Facts().Suite)
//	err = session.Send(ctx, device.NewTelemetry("pump-0417", 21.5, 60))
//	session.Close()
//
// An error of Connect says in plain words why there is no connection: the TLS
// version, the suites, the hub's certificate, or the credentials.
//
// Fleet is a plant of some hundred such devices, old and new ones, a few of them
// broken, for demonstrations and tests. Cmd is "hubscope device".
package device
