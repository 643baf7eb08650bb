package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// plugins are the panel plugins whose options @grafana/schema has types of.
var plugins = []string{"barchart", "bargauge", "logs", "piechart", "stat", "statetimeline", "table", "timeseries"}

// prelude makes types for JSON out of Grafana's: enumerations are texts there. An
// override names a property and has its type of value; excess fields are errors.
const prelude = `
type Plain<T> = unknown extends T ? unknown
  : T extends string ? ` + "`${T}`" + `
  : T extends number | boolean | null | undefined ? T
  : T extends ReadonlyArray<infer U> ? Array<Plain<U>>
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Source = { type: 'hubscope-connections-datasource'; uid: '${ds}' };
type Target = { datasource: Source; refId: string; schemaVersion: 1; query: string; format: 'table' | 'time_series' | 'logs'; editorMode: 'code' | 'builder'; rowLimit?: number; purpose?: 'variable' | 'annotation' };
type Link = { title: string; url: string; targetBlank?: boolean; oneClick?: boolean };
type Config = Omit<Plain<grafana.FieldConfig>, 'custom' | 'links'> & { links?: Link[] };
type Property<C> = { [K in keyof C & string]-?: { id: ` + "`custom.${K}`" + `; value: Plain<C[K]> } }[keyof C & string]
  | { [K in keyof Config]-?: { id: K; value: Config[K] } }[keyof Config];
type Override<C> = { matcher: { id: 'byName'; options: string }; properties: Array<Property<C>> };
type Drawn<Type extends string, Options, Custom> = Omit<Plain<grafana.Panel>, 'type' | 'datasource' | 'targets' | 'options' | 'fieldConfig'> & {
  type: Type; datasource: Source; targets: Target[]; options: Plain<Options>;
  fieldConfig: { defaults: Config & { custom?: Partial<Plain<Custom>> }; overrides: Array<Override<Custom>> };
};
type Frame = Omit<Plain<grafana.Dashboard>, 'panels' | 'templating' | 'annotations'> & {
  templating: { list: Array<Omit<Plain<grafana.VariableModel>, 'datasource' | 'query'> & { datasource?: Source; query?: string | Target }> };
  annotations: { list: Array<Omit<Plain<grafana.AnnotationQuery>, 'datasource' | 'target'> & { datasource: Source; target: Target }> };
};
type Empty = {};
type barchart = Drawn<'barchart', barchartTypes.Options, barchartTypes.FieldConfig>;
type bargauge = Drawn<'bargauge', bargaugeTypes.Options, Empty>;
type logs = Drawn<'logs', logsTypes.Options, Empty>;
type piechart = Drawn<'piechart', piechartTypes.Options, piechartTypes.FieldConfig>;
type stat = Drawn<'stat', statTypes.Options, Empty>;
type state_timeline = Drawn<'state-timeline', statetimelineTypes.Options, statetimelineTypes.FieldConfig>;
type table = Drawn<'table', tableTypes.Options, tableTypes.FieldConfig>;
type timeseries = Drawn<'timeseries', timeseriesTypes.Options, timeseriesTypes.FieldConfig>;
type row = Plain<grafana.RowPanel>;
type alertlist = Omit<Plain<grafana.Panel>, 'targets'>;
`

// TestSchema compiles the dashboards as TypeScript against @grafana/schema: a name
// that Grafana does not know, or a value that it does not take, is an error.
func TestSchema(t *testing.T) {
	schema, err := filepath.Abs("../plugin/node_modules/@grafana/schema/dist/types")
	if err != nil {
		t.Fatal(err)
	}
	tsc := "../plugin/node_modules/typescript/bin/tsc"
	node, err := exec.LookPath("node")
	if err == nil {
		if _, err = os.Stat(schema); err == nil {
			_, err = os.Stat(tsc)
		}
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("npm ci in plugin, with node: %v", err)
	}
	compile := func(t *testing.T, list ...string) string {
		dir := t.TempDir()
		var files []string
		for i, text := range list {
			file := filepath.Join(dir, fmt.Sprintf("d%d.ts", i))
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		config, err := json.Marshal(map[string]any{
			"compilerOptions": map[string]any{
				"strict": true, "noEmit": true, "skipLibCheck": true, "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "types": []string{},
				"paths": map[string][]string{"@grafana/schema": {schema + "/index.d.ts"}},
			},
			"files": files,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tsconfig.json"), config, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), node, tsc, "-p", dir).CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		return string(out)
	}
	var texts []string
	for _, d := range read(t) {
		texts = append(texts, typescript(t, schema, d.raw))
	}
	if out := compile(t, texts...); out != "" {
		t.Errorf("%s", out)
	}
	// The check sees what is wrong.
	b, err := os.ReadFile("tls-compliance.json")
	if err != nil {
		t.Fatal(err)
	}
	mistakes := [][2]string{
		{`"graphMode": "none"`, `"graphMode": "non"`},
		{`"drawStyle": "bars"`, `"drawStile": "bars"`},
		{`"id": "custom.width"`, `"id": "custom.widht"`},
		{`"keepTime": true`, `"keepTimes": true`},
		{`"includeAll": true`, `"includeAll": "yes"`},
	}
	texts = nil
	for _, m := range mistakes {
		text := strings.Replace(string(b), m[0], m[1], 1)
		if text == string(b) {
			t.Errorf("there is no %s", m[0])
		}
		texts = append(texts, typescript(t, schema, []byte(text)))
	}
	out := compile(t, texts...)
	for i, m := range mistakes {
		if !strings.Contains(out, fmt.Sprintf("d%d.ts(", i)) {
			t.Errorf("%s is not seen", m[1])
		}
	}
}

// typescript writes a dashboard as constants with types, one for each panel.
func typescript(t *testing.T, schema string, raw []byte) string {
	t.Helper()
	var d map[string]json.RawMessage
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	var panels []json.RawMessage
	if err := json.Unmarshal(d["panels"], &panels); err != nil {
		t.Fatal(err)
	}
	delete(d, "panels")
	frame, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("import type * as grafana from '@grafana/schema';\n")
	for _, p := range plugins {
		fmt.Fprintf(&b, "import type * as %sTypes from '%s/raw/composable/%s/panelcfg/x/types.gen';\n", p, schema, p)
	}
	b.WriteString(prelude)
	fmt.Fprintf(&b, "export const dashboard: Frame = %s;\n", frame)
	for i, raw := range panels {
		var p struct{ Type string }
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		kind := strings.ReplaceAll(p.Type, "-", "_")
		if known := strings.ReplaceAll(p.Type, "-", ""); !slices.Contains(plugins, known) && p.Type != "row" && p.Type != "alertlist" {
			t.Fatalf("a panel of type %s", p.Type)
		}
		fmt.Fprintf(&b, "export const panel%d: %s = %s;\n", i, kind, raw)
	}
	return b.String()
}
