package plan

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"hubscope/query/kql"
)

// maxXML bounds the text that parse_xml reads. (parse-xml-function)
const maxXML = 1 << 20

// parseXML binds parse_xml. It works on constants, as compression does.
func (b *binder) parseXML(e *kql.Call) Expr {
	c, ok := b.constantText(e)
	if !ok {
		return &Const{T: Dynamic, Null: true}
	}
	if text, ok := xmlToJSON(c.Text); ok {
		return &Const{T: Dynamic, Text: text}
	}
	return &Const{T: Dynamic, Null: true}
}

// constantText binds the only argument of a function of constant text.
func (b *binder) constantText(e *kql.Call) (*Const, bool) {
	name := e.Func.Text
	if len(e.Args) != 1 {
		b.errorf(e.Span, CodeArguments, "%s takes 1 argument, not %d", name, len(e.Args))
		return nil, false
	}
	c, ok := b.expr(e.Args[0]).(*Const)
	if !ok {
		b.unsupported(e.Args[0].Range(), name+" of anything but a constant")
		return nil, false
	}
	if c.T != String {
		b.errorf(e.Args[0].Range(), CodeType, "%s: the argument has to be string, not %s", name, c.T)
		return nil, false
	}
	return c, true
}

// element is an element of XML as parse_xml sees it: its attributes, texts and
// elements by name, in the order in which the names came.
type element struct {
	names  []string
	values map[string][]string // JSON
	plain  bool                // nothing but text
}

func (el *element) add(name, value string) {
	if el.values[name] == nil {
		el.names = append(el.names, name)
	}
	el.values[name] = append(el.values[name], value)
}

// json writes an element's value: null, its text, or a bag.
func (el *element) json() string {
	switch {
	case len(el.names) == 0:
		return "null"
	case el.plain && len(el.values["#text"]) == 1:
		return el.values["#text"][0]
	}
	out := []byte{'{'}
	for i, n := range el.names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(AppendJSONString(out, n), ':')
		if v := el.values[n]; len(v) == 1 {
			out = append(out, v[0]...)
		} else {
			out = append(out, '[')
			out = append(out, strings.Join(v, ",")...)
			out = append(out, ']')
		}
	}
	return string(append(out, '}'))
}

// xmlToJSON translates XML by the table of the page parse-xml-function; a text that
// is a number becomes one, as in the page's example. ok is false for what is no
// XML.
func xmlToJSON(text string) (out string, ok bool) {
	if len(text) > maxXML {
		return "", false
	}
	const maxDepth = 400
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // text is UTF-8 already
	root := &element{values: map[string][]string{}, plain: true}
	stack, names := []*element{root}, []string{""}
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", false
		}
		top := stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			if len(stack) > maxDepth || len(stack) == 1 && len(root.names) > 0 {
				return "", false
			}
			top.plain = false
			el := &element{values: map[string][]string{}, plain: true}
			for _, a := range t.Attr {
				el.plain = false
				el.add("@"+qualified(a.Name), string(AppendJSONString(nil, a.Value)))
			}
			stack, names = append(stack, el), append(names, qualified(t.Name))
		case xml.EndElement:
			if len(stack) == 1 || names[len(names)-1] != qualified(t.Name) {
				return "", false
			}
			stack, names = stack[:len(stack)-1], names[:len(names)-1]
			name := qualified(t.Name)
			stack[len(stack)-1].add(name, top.json())
		case xml.CharData:
			s := strings.TrimSpace(string(t))
			if s == "" {
				continue
			}
			if len(stack) == 1 {
				return "", false
			}
			top.add("#text", textJSON(s))
		}
	}
	if len(stack) > 1 || len(root.names) == 0 {
		return "", false
	}
	return root.json(), true
}

// qualified is a name as it is written, with its prefix.
func qualified(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// textJSON writes a text, a number as a number.
func textJSON(s string) string {
	if c := s[0]; (c == '-' || c >= '0' && c <= '9') && json.Valid([]byte(s)) {
		return s
	}
	return string(AppendJSONString(nil, s))
}
