package api

import (
	"net/http"

	"gopkg.in/yaml.v3"

	_ "embed"
)

//go:embed openapi.yaml
var openapiYAML []byte

// openapi returns the OpenAPI document of this service, as JSON, without the
// anchors that its source has.
func openapi(version string) any {
	var doc map[string]any
	if err := yaml.Unmarshal(openapiYAML, &doc); err != nil {
		panic("openapi.yaml: " + err.Error()) // a file of ours
	}
	if version != "" {
		doc["info"].(map[string]any)["version"] = version
	}
	return doc
}

func (s *Server) serveOpenAPI(w http.ResponseWriter, r *http.Request) error {
	d := s.schema()
	return serveTagged(w, r, d.openapi, d.openapiETag)
}
