package registry

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// parseTemplate reads an Azure Resource Manager template and returns its hubs.
// It reports everything that is wrong with it, each with the place.
//
// Parameters, variables and the functions parameters, variables, concat,
// toLower, toUpper, format and resourceGroup().location (which is "local") are
// evaluated. Resources of other types are refused: applying half of a template
// would pretend that the rest is there.
//
// name, if not empty, is the hub's in the place of the template's, which is
// then of one hub: published templates have a placeholder there.
func parseTemplate(data []byte, values map[string]string, name string) ([]armHub, error) {
	var template struct {
		Schema         string                     `json:"$schema"`
		ContentVersion string                     `json:"contentVersion"`
		Parameters     map[string]templateParam   `json:"parameters"`
		Variables      map[string]json.RawMessage `json:"variables"`
		Resources      json.RawMessage            `json:"resources"`
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := json.Unmarshal(data, &template); err != nil {
		return nil, positioned(data, err)
	}
	switch {
	case template.Schema == "":
		return nil, errors.New(`template: "$schema" is missing: this is no Azure Resource Manager template`)
	case !strings.Contains(strings.ToLower(template.Schema), "deploymenttemplate.json"):
		return nil, fmt.Errorf("template: $schema %q is not that of a deployment template", template.Schema)
	case template.ContentVersion == "":
		return nil, errors.New(`template: "contentVersion" is missing`)
	case len(template.Resources) == 0:
		return nil, errors.New(`template: "resources" is missing`)
	}
	e := &evaluation{params: template.Parameters, values: values, variables: template.Variables, name: name}
	for name := range values {
		if _, ok := template.Parameters[name]; !ok {
			e.errorf("parameters", "the template has no parameter %q", name)
		}
	}
	// Since language version 2.0 resources may be an object, by symbolic name.
	type place struct {
		where string
		raw   json.RawMessage
	}
	var resources []place
	var list []json.RawMessage
	if err := json.Unmarshal(template.Resources, &list); err == nil {
		for i, r := range list {
			resources = append(resources, place{fmt.Sprintf("resources[%d]", i), r})
		}
	} else {
		var named map[string]json.RawMessage
		if err := json.Unmarshal(template.Resources, &named); err != nil {
			return nil, errors.New("template: resources: a list is expected")
		}
		for _, k := range slices.Sorted(maps.Keys(named)) {
			resources = append(resources, place{"resources." + k, named[k]})
		}
	}
	if len(resources) == 0 {
		e.errorf("resources", "there is none")
	} else if len(resources) > 1 && name != "" {
		e.errorf("resources", "there are %d, and one name is given", len(resources))
	}
	var hubs []armHub
	names := map[string]bool{}
	for _, r := range resources {
		hub, ok := e.hub(r.where, r.raw)
		if !ok {
			continue
		}
		if key := strings.ToLower(hub.Name); names[key] {
			e.errorf(r.where+".name", "hub %q is there twice", hub.Name)
		} else {
			names[key] = true
		}
		hubs = append(hubs, hub)
	}
	return hubs, errors.Join(e.errs...)
}

type templateParam struct {
	Type          string          `json:"type"`
	DefaultValue  any             `json:"defaultValue"`
	AllowedValues []any           `json:"allowedValues"`
	Metadata      json.RawMessage `json:"metadata"`
}

// positioned adds the line and column to an error of encoding/json.
func positioned(data []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		err = fmt.Errorf("%s: a %s is not expected here", kind.Field, kind.Value)
	}
	if offset < 0 || offset > int64(len(data)) {
		return fmt.Errorf("template: %w", err)
	}
	before := data[:offset]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n') - 1
	return fmt.Errorf("template: line %d, column %d: %w", line, max(column, 1), err)
}

// maxSteps and maxText bound what a template can make us compute: variables that
// name each other twice double at each level.
const (
	maxSteps = 10_000
	maxText  = 64 << 10
)

// evaluation collects errors while a template is evaluated.
type evaluation struct {
	params    map[string]templateParam
	values    map[string]string
	variables map[string]json.RawMessage
	name      string // given by the caller
	errs      []error
	depth     int
	steps     int
}

func (e *evaluation) errorf(where, format string, args ...any) {
	e.errs = append(e.errs, fmt.Errorf("template: %s: %s", where, fmt.Sprintf(format, args...)))
}

// hub reads one resource.
func (e *evaluation) hub(where string, raw json.RawMessage) (armHub, bool) {
	before := len(e.errs)
	var resource map[string]any
	if err := json.Unmarshal(raw, &resource); err != nil {
		e.errorf(where, "an object is expected")
		return armHub{}, false
	}
	resource, _ = e.resolve(where, resource).(map[string]any)
	if len(e.errs) > before {
		return armHub{}, false
	}
	text := func(name string, needed bool) string {
		v, there := resource[name]
		s, ok := v.(string)
		switch {
		case !there && needed:
			e.errorf(where+"."+name, "is missing")
		case there && !ok:
			e.errorf(where+"."+name, "a text is expected")
		}
		return s
	}
	if kind := text("type", true); !strings.EqualFold(kind, "Microsoft.Devices/IotHubs") {
		if kind != "" {
			e.errorf(where+".type", "%q is not supported: only Microsoft.Devices/IotHubs is", kind)
		}
		return armHub{}, false
	}
	text("apiVersion", true)
	name, location := cmp.Or(e.name, text("name", e.name == "")), text("location", false)
	if isPlaceholder(location) {
		location = "" // it means nothing here
	}
	if isPlaceholder(name) {
		e.errorf(where+".name", "%q is a placeholder: give the hub's name, there or with --name", name)
	} else if name != "" {
		if err := validateHubName(name); err != nil {
			e.errorf(where+".name", "%s", clip(strings.TrimPrefix(err.Error(), "name: ")))
		}
	}
	if nested, ok := resource["resources"].([]any); ok && len(nested) > 0 {
		e.errorf(where+".resources", "nested resources are not supported")
	}
	for key := range resource {
		switch key {
		case "type", "apiVersion", "name", "location", "tags", "sku", "properties", "dependsOn", "comments", "resources", "etag":
		default:
			e.errorf(where+"."+key, "is not supported")
		}
	}
	hub := armHub{Name: name, Location: location}
	for _, part := range []struct {
		name string
		into any
	}{{"properties", &hub.Properties}, {"sku", &hub.SKU}, {"tags", &hub.Tags}} {
		v, ok := resource[part.name]
		if !ok {
			continue
		}
		b, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(b, part.into)
		}
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			path := where + "." + part.name
			if kind.Field != "" {
				path += "." + kind.Field
			}
			e.errorf(path, "a %s is not expected here", kind.Value)
		} else if err != nil {
			e.errorf(where+"."+part.name, "%v", err)
		}
	}
	if _, ok := resource["sku"]; !ok {
		e.errorf(where+".sku", "is missing")
	} else if hub.SKU != nil && hub.SKU.Name == "" {
		e.errorf(where+".sku.name", "is missing")
	}
	if hub.SKU != nil && isPlaceholder(hub.SKU.Name) {
		hub.SKU = nil // as above
	}
	if err := hub.check(); err != nil {
		e.errorf(where, "%v", err)
	}
	return hub, len(e.errs) == before
}

// isPlaceholder is about "<your-hubs-SKU-name>", as documents have it.
func isPlaceholder(s string) bool { return strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") }

// resolve evaluates the expressions in a value.
func (e *evaluation) resolve(where string, v any) any {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "[[") {
			return v[1:]
		}
		if !strings.HasPrefix(v, "[") || !strings.HasSuffix(v, "]") {
			return v
		}
		result, err := e.expression(v[1 : len(v)-1])
		if err != nil {
			e.errorf(where, "%s: %v", v, err)
			return ""
		}
		return result
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[k] = e.resolve(where+"."+k, v[k])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = e.resolve(fmt.Sprintf("%s[%d]", where, i), v[i])
		}
		return out
	}
	return v
}

// expression evaluates what stands between the brackets.
func (e *evaluation) expression(text string) (any, error) {
	p := &templateParser{text: text, e: e}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.text != "" {
		return nil, fmt.Errorf("unexpected %q", p.text)
	}
	return v, nil
}

type templateParser struct {
	text string
	e    *evaluation
}

func (p *templateParser) space() { p.text = strings.TrimLeft(p.text, " \t\r\n") }

func (p *templateParser) accept(s string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.text, s)
	if ok {
		p.text = rest
	}
	return ok
}

func (p *templateParser) value() (any, error) {
	if p.e.depth++; p.e.depth > maxDepth {
		return nil, errors.New("is nested too deeply")
	}
	defer func() { p.e.depth-- }()
	p.space()
	if p.accept("'") {
		var b strings.Builder
		for {
			before, after, ok := strings.Cut(p.text, "'")
			if !ok {
				return nil, errors.New("a text has no end")
			}
			b.WriteString(before)
			p.text = after
			if !strings.HasPrefix(p.text, "'") { // '' is one
				return b.String(), nil
			}
			b.WriteByte('\'')
			p.text = p.text[1:]
		}
	}
	n := 0
	for n < len(p.text) && (isAlphanumeric(p.text[n]) || p.text[n] == '_' || p.text[n] == '-' && n == 0) {
		n++
	}
	word := p.text[:n]
	p.text = p.text[n:]
	if i, err := strconv.Atoi(word); err == nil {
		return float64(i), nil
	}
	if !p.accept("(") {
		return nil, fmt.Errorf("a function is expected, not %q", word+p.text)
	}
	var args []any
	for !p.accept(")") {
		if len(args) > 0 && !p.accept(",") {
			return nil, errors.New(`"," or ")" is missing`)
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	v, err := p.e.call(word, args)
	for err == nil && p.accept(".") {
		n := 0
		for n < len(p.text) && (isAlphanumeric(p.text[n]) || p.text[n] == '_') {
			n++
		}
		member := p.text[:n]
		p.text = p.text[n:]
		object, _ := v.(map[string]any)
		var ok bool
		if v, ok = object[member]; !ok {
			err = fmt.Errorf("%s has no %q", word, member)
		}
	}
	return v, err
}

func (e *evaluation) call(name string, args []any) (any, error) {
	if e.steps++; e.steps > maxSteps {
		return nil, errors.New("takes too many steps")
	}
	texts, size := make([]string, len(args)), 0
	for i, a := range args {
		texts[i] = fmt.Sprint(a)
		size += len(texts[i])
	}
	if size > maxText {
		return nil, errors.New("makes too long a text")
	}
	one := func() (string, error) {
		if len(args) != 1 {
			return "", fmt.Errorf("%s takes one argument, not %d", name, len(args))
		}
		return texts[0], nil
	}
	switch strings.ToLower(name) {
	case "parameters":
		arg, err := one()
		if err != nil {
			return nil, err
		}
		return e.parameter(arg)
	case "variables":
		arg, err := one()
		if err != nil {
			return nil, err
		}
		raw, ok := e.variables[arg]
		if !ok {
			return nil, fmt.Errorf("there is no variable %q", arg)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, err
		}
		if s, ok := v.(string); ok && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") && !strings.HasPrefix(s, "[[") {
			return e.expression(s[1 : len(s)-1])
		}
		return v, nil
	case "concat":
		return strings.Join(texts, ""), nil
	case "tolower":
		arg, err := one()
		return strings.ToLower(arg), err
	case "toupper":
		arg, err := one()
		return strings.ToUpper(arg), err
	case "format":
		if len(texts) == 0 {
			return nil, errors.New("format needs a text")
		}
		out := texts[0]
		for i, t := range texts[1:] {
			place := "{" + strconv.Itoa(i) + "}"
			if len(out)+strings.Count(out, place)*len(t) > maxText {
				return nil, errors.New("makes too long a text")
			}
			out = strings.ReplaceAll(out, place, t)
		}
		return out, nil
	case "resourcegroup":
		return map[string]any{"location": "local", "name": "hubscope", "id": "/subscriptions/hubscope/resourceGroups/hubscope"}, nil
	}
	return nil, fmt.Errorf("the function %s is not supported", name)
}

func (e *evaluation) parameter(name string) (any, error) {
	p, ok := e.params[name]
	if !ok {
		return nil, fmt.Errorf("there is no parameter %q", name)
	}
	v := p.DefaultValue
	if text, given := e.values[name]; given {
		v = text
		switch strings.ToLower(p.Type) {
		case "string", "securestring":
		case "int":
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("parameter %q is an int, not %q", name, text)
			}
			v = float64(n)
		default:
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				return nil, fmt.Errorf("parameter %q is of type %s: give it as JSON", name, p.Type)
			}
		}
	} else if v == nil {
		return nil, fmt.Errorf("parameter %q has no value: give it with --parameter %s=VALUE", name, name)
	} else if s, ok := v.(string); ok && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") && !strings.HasPrefix(s, "[[") {
		var err error
		if v, err = e.expression(s[1 : len(s)-1]); err != nil {
			return nil, err
		}
	}
	if len(p.AllowedValues) > 0 && !slices.ContainsFunc(p.AllowedValues, func(a any) bool { return same(a, v) }) {
		return nil, fmt.Errorf("parameter %q: %v is not one of %v", name, v, p.AllowedValues)
	}
	return v, nil
}
