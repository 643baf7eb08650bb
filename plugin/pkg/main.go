// Command gpx_hubscope is the backend of the Grafana data source plugin. Grafana
// starts it and talks to it over gRPC; run by hand it only says so.
package main

import (
	"os"

	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"hubscope/plugin/pkg/ds"
)

func main() {
	if err := datasource.Manage(ds.PluginID, ds.New, datasource.ManageOpts{}); err != nil {
		log.DefaultLogger.Error("serve the plugin", "err", err)
		os.Exit(1)
	}
}
