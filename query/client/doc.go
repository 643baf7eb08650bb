// Package client is the query service's HTTP interface as programs see it: the
// types of its requests and answers, and a [Client] that asks for them. The
// command line and the Grafana data source are made with it; package query/api
// is the other end and says what each path does.
//
//	c := &client.Client{URL: "http://127.0.0.1:7070"}
//	answer, err := c.Query(ctx, client.QueryRequest{Query: "Connections | count"}, nil)
//
// Rows come as the service sends them, so that memory does not grow with the
// result. What is wrong with a query comes as [Errors], whose Render points at
// the place in its text.
//
// It knows nothing of the engine: of our packages it imports only query/kql, for
// places in a text and for how KQL writes times. So a program that asks links no
// planner, no SQL and no console.
package client
