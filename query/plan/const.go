package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hubscope/query/kql"
)

// appendDynamic appends the value inside dynamic(...) as compact JSON.
func appendDynamic(b []byte, e kql.Expr) []byte {
	switch e := e.(type) {
	case *kql.Dynamic:
		return appendDynamic(b, e.Value)
	case *kql.Paren:
		return appendDynamic(b, e.X)
	case *kql.Array:
		b = append(b, '[')
		for i, x := range e.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendDynamic(b, x)
		}
		return append(b, ']')
	case *kql.Object:
		b = append(b, '{')
		for i, f := range lastFields(e.Fields) {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendJSONString(b, f.Name)
			b = append(b, ':')
			b = appendDynamic(b, f.Value)
		}
		return append(b, '}')
	case *kql.Literal:
		return AppendJSON(b, literal(e))
	case *kql.Unary:
		if l, ok := e.X.(*kql.Literal); ok && e.Op == kql.OpNeg {
			return AppendJSON(b, &Const{T: Real, Real: -literalReal(l), Null: l.Null})
		}
		return appendDynamic(b, e.X)
	}
	return append(b, "null"...)
}

// lastFields keeps the last of the fields of one name, in the place of the first.
func lastFields(fields []*kql.Field) []*kql.Field {
	out := fields[:0:0]
next:
	for _, f := range fields {
		for i, o := range out {
			if o.Name == f.Name {
				out[i] = f
				continue next
			}
		}
		out = append(out, f)
	}
	return out
}

func literalReal(l *kql.Literal) float64 {
	if l.Kind == kql.RealLit {
		return l.Real
	}
	return float64(l.Int)
}

// AppendJSON appends a constant as the JSON text of the dynamic value that it
// becomes.
func AppendJSON(b []byte, c *Const) []byte {
	if c.Null {
		return append(b, "null"...)
	}
	switch c.T {
	case Bool:
		return strconv.AppendBool(b, c.Int != 0)
	case Int, Long:
		return strconv.AppendInt(b, c.Int, 10)
	case Real:
		return appendRealJSON(b, c.Real)
	case Decimal, GUID, String:
		return AppendJSONString(b, c.Text)
	case Datetime:
		b = append(b, '"')
		return append(AppendDatetime(b, c.Int), '"')
	case Timespan:
		b = append(b, '"')
		return append(AppendTimespan(b, c.Int), '"')
	case Dynamic:
		return append(b, c.Text...)
	}
	return append(b, "null"...)
}

// appendRealJSON appends a real as ClickHouse writes it into JSON: NaN and the
// infinities, which JSON lacks, are strings.
func appendRealJSON(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	case math.Abs(f) >= 1e21 || f != 0 && math.Abs(f) < 1e-6:
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	n := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if !strings.ContainsAny(string(b[n:]), ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// jsonElements returns the elements of a JSON array as constants, nested arrays
// and bags as dynamic ones. ok is false if the text is no array.
func jsonElements(text string) (elems []Expr, ok bool) {
	if !strings.HasPrefix(text, "[") {
		return nil, false
	}
	var raw []json.RawMessage
	if json.Unmarshal([]byte(text), &raw) != nil {
		return nil, false
	}
	for _, r := range raw {
		if c, ok := jsonScalar(string(r)); ok {
			elems = append(elems, c)
		} else {
			elems = append(elems, &Const{T: Dynamic, Text: string(r), Null: string(r) == "null"})
		}
	}
	return elems, true
}

// jsonScalar returns the JSON text of a string, number or bool as a constant.
func jsonScalar(text string) (*Const, bool) {
	if text == "" {
		return nil, false
	}
	switch text[0] {
	case '"':
		var s string
		if json.Unmarshal([]byte(text), &s) != nil {
			return nil, false
		}
		return &Const{T: String, Text: s}, true
	case 't':
		return &Const{T: Bool, Int: 1}, true
	case 'f':
		return &Const{T: Bool}, true
	case '{', '[', 'n':
		return nil, false
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return &Const{T: Long, Int: i}, true
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return &Const{T: Real, Real: f}, true
	}
	return nil, false
}

// foldConvert converts a constant without running anything.
func foldConvert(c *Const, t Type) (*Const, bool) {
	if c.Null {
		if t == String {
			return &Const{T: String}, true
		}
		return &Const{T: t, Null: true}, true
	}
	null := &Const{T: t, Null: true}
	switch t {
	case Int, Long:
		switch c.T {
		case Int, Long, Bool:
			if t == Int && (c.Int > math.MaxInt32 || c.Int < math.MinInt32) {
				return null, true
			}
			return &Const{T: t, Int: c.Int}, true
		}
	case Real:
		switch c.T {
		case Int, Long, Bool:
			return &Const{T: t, Real: float64(c.Int)}, true
		}
	case Decimal:
		switch c.T {
		case Int, Long:
			return &Const{T: t, Text: strconv.FormatInt(c.Int, 10)}, true
		}
	case Bool:
		switch c.T {
		case Int, Long:
			n := int64(0)
			if c.Int != 0 {
				n = 1
			}
			return &Const{T: t, Int: n}, true
		}
	case Datetime:
		if c.T == String {
			if ticks, ok := ParseDatetime(c.Text); ok {
				return &Const{T: t, Int: ticks}, true
			}
			return null, false
		}
	case Timespan:
		if c.T == String {
			if ticks, ok := ParseTimespan(c.Text); ok {
				return &Const{T: t, Int: ticks}, true
			}
			return null, true
		}
	case String:
		switch c.T {
		case Int, Long:
			return &Const{T: t, Text: strconv.FormatInt(c.Int, 10)}, true
		case GUID:
			return &Const{T: t, Text: c.Text}, true
		case Datetime:
			return &Const{T: t, Text: FormatDatetime(c.Int)}, true
		case Timespan:
			return &Const{T: t, Text: FormatTimespan(c.Int)}, true
		}
	case Dynamic:
		return &Const{T: Dynamic, Text: string(AppendJSON(nil, c))}, true
	}
	return nil, false
}

// foldBinary computes arithmetic between constants where it cannot differ from
// what the engine would do; nil leaves it to the engine.
func foldBinary(op kql.Op, x, y Expr, t Type) Expr {
	a, ok := x.(*Const)
	if !ok || a.Null {
		return nil
	}
	c, ok := y.(*Const)
	if !ok || c.Null {
		return nil
	}
	ints := func(t Type) bool { return t == Int || t == Long || t == Timespan || t == Datetime }
	if ints(a.T) && ints(c.T) && t != Real && t != Bool && t != Dynamic {
		r := int64(0)
		switch op {
		case kql.OpAdd:
			r = a.Int + c.Int
			if a.Int > 0 && c.Int > 0 && r < 0 || a.Int < 0 && c.Int < 0 && r >= 0 {
				return nil
			}
		case kql.OpSub:
			r = a.Int - c.Int
			if (a.Int < 0) != (c.Int < 0) && (r < 0) != (a.Int < 0) {
				return nil
			}
		case kql.OpMul:
			if hi := math.Abs(float64(a.Int) * float64(c.Int)); hi > 9e18 {
				return nil
			}
			r = a.Int * c.Int
		default:
			return nil
		}
		if t == Datetime && (r < 0 || r > MaxDatetimeTicks) {
			return &Const{T: t, Null: true} // before year 1 or after 9999
		}
		return &Const{T: t, Int: r}
	}
	if t == Real && (a.T.Numeric() && c.T.Numeric()) && a.T != Decimal && c.T != Decimal {
		f, g := constReal(a), constReal(c)
		switch op {
		case kql.OpAdd:
			return &Const{T: Real, Real: f + g}
		case kql.OpSub:
			return &Const{T: Real, Real: f - g}
		case kql.OpMul:
			return &Const{T: Real, Real: f * g}
		case kql.OpDiv:
			return &Const{T: Real, Real: f / g}
		}
	}
	return nil
}

// foldCall computes the functions of datetimes that bounds of time are made of;
// nil leaves a call to the engine.
func (b *binder) foldCall(c *Call) Expr {
	at := func(ticks int64) Expr {
		if ticks < 0 || ticks > MaxDatetimeTicks {
			return nil
		}
		return &Const{T: Datetime, Int: ticks}
	}
	span := func(i int) (int64, bool) {
		k, ok := c.Args[i].(*Const)
		return k.ticks(), ok && !k.Null && k.T == Timespan
	}
	switch c.Func.Base {
	case "now", "ago":
		if b.opt.Now == nil {
			return nil
		}
		if len(c.Args) == 0 {
			return at(*b.opt.Now)
		}
		by, ok := span(0)
		switch {
		case !ok || by > MaxDatetimeTicks || by < -MaxDatetimeTicks:
			return nil
		case c.Func.Base == "ago":
			return at(*b.opt.Now - by)
		}
		return at(*b.opt.Now + by)
	}
	if len(c.Args) == 0 {
		return nil
	}
	t, ok := c.Args[0].(*Const)
	if !ok || t.Null || t.T != Datetime || t.Int < 0 || t.Int > MaxDatetimeTicks {
		return nil
	}
	if c.Func.Base == "bin" {
		if size, ok := span(1); ok && size > 0 {
			return at(t.Int - t.Int%size)
		}
		return nil
	}
	if len(c.Args) > 1 {
		return nil
	}
	day := Time(t.Int)
	switch c.Func.Base {
	case "startofday":
	case "startofweek":
		day = day.AddDate(0, 0, -int(day.Weekday()))
	case "startofmonth":
		day = day.AddDate(0, 0, 1-day.Day())
	case "startofyear":
		day = day.AddDate(0, 0, 1-day.YearDay())
	default:
		return nil
	}
	ticks := Ticks(day)
	return at(ticks - ticks%TicksPerDay)
}

func constReal(c *Const) float64 {
	if c.T == Real {
		return c.Real
	}
	return float64(c.Int)
}

// constInt returns the value of a constant whole number.
func constInt(x Expr) (int64, bool) {
	c, ok := x.(*Const)
	if !ok || c.Null {
		return 0, false
	}
	switch c.T {
	case Int, Long:
		return c.Int, true
	case Real:
		if c.Real == math.Trunc(c.Real) && math.Abs(c.Real) < 1<<53 {
			return int64(c.Real), true
		}
	}
	return 0, false
}

// paramConst makes the value of a query parameter a constant of its type.
func paramConst(t Type, v any) (*Const, error) {
	mismatch := fmt.Errorf("%v is no %s", v, t)
	switch v := v.(type) {
	case nil:
		if t == String {
			return &Const{T: String}, nil
		}
		return &Const{T: t, Null: true}, nil
	case json.Number:
		return paramText(t, v.String())
	case bool:
		if t == Dynamic {
			return &Const{T: t, Text: strconv.FormatBool(v)}, nil
		}
		return paramText(t, strconv.FormatBool(v))
	case int:
		return paramText(t, strconv.Itoa(v))
	case int64:
		return paramText(t, strconv.FormatInt(v, 10))
	case float64:
		if t == Real {
			return &Const{T: Real, Real: v}, nil
		}
		return paramText(t, strconv.FormatFloat(v, 'f', -1, 64))
	case time.Time:
		if t == Datetime {
			return &Const{T: t, Int: Ticks(v.UTC())}, nil
		}
	case time.Duration:
		if t == Timespan {
			return &Const{T: t, Int: int64(v / 100)}, nil
		}
	case string:
		if t == Dynamic && !json.Valid([]byte(unwrap(v, "dynamic"))) {
			return &Const{T: t, Text: string(AppendJSONString(nil, v))}, nil
		}
		return paramText(t, v)
	case []any, map[string]any:
		if t == Dynamic {
			text, err := json.Marshal(v)
			if err != nil {
				return nil, mismatch
			}
			return &Const{T: t, Text: string(text)}, nil
		}
	}
	return nil, mismatch
}

// unwrap strips type(...) from a literal that a client wrote as KQL.
func unwrap(s string, names ...string) string {
	s = strings.TrimSpace(s)
	for _, n := range names {
		if strings.HasPrefix(s, n+"(") && strings.HasSuffix(s, ")") {
			return strings.Trim(strings.TrimSpace(s[len(n)+1:len(s)-1]), `"'`)
		}
	}
	return s
}

// paramText reads the text of a parameter: plain, or a KQL literal of its type.
func paramText(t Type, s string) (*Const, error) {
	mismatch := fmt.Errorf("%q is no %s", s, t)
	var c *Const
	switch t {
	case String:
		return &Const{T: String, Text: s}, nil
	case Bool:
		switch strings.ToLower(unwrap(s, "bool", "boolean")) {
		case "true", "1":
			c = &Const{T: t, Int: 1}
		case "false", "0":
			c = &Const{T: t}
		}
	case Int, Long:
		bits := 64
		if t == Int {
			bits = 32
		}
		text := unwrap(s, "int", "long")
		if n, err := strconv.ParseInt(text, 0, bits); err == nil {
			c = &Const{T: t, Int: n}
		}
	case Real:
		if f, err := strconv.ParseFloat(unwrap(s, "real", "double"), 64); err == nil {
			c = &Const{T: t, Real: f}
		}
	case Decimal:
		text := unwrap(s, "decimal")
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			c = &Const{T: t, Text: text}
		}
	case Datetime:
		if ticks, ok := ParseDatetime(unwrap(s, "datetime", "date")); ok {
			c = &Const{T: t, Int: ticks}
		}
	case Timespan:
		if ticks, ok := ParseTimespan(unwrap(s, "timespan", "time")); ok {
			c = &Const{T: t, Int: ticks}
		}
	case GUID:
		if g, ok := ParseGUID(unwrap(s, "guid")); ok {
			c = &Const{T: t, Text: g}
		}
	case Dynamic:
		text := unwrap(s, "dynamic")
		if json.Valid([]byte(text)) && utf8.ValidString(text) {
			c = &Const{T: t, Text: compactJSON(text), Null: text == "null"}
		}
	}
	if c == nil && (s == "null" || unwrap(s, t.String()) == "null") {
		c = &Const{T: t, Null: true}
	}
	if c == nil {
		return nil, mismatch
	}
	return c, nil
}

func compactJSON(s string) string {
	var b strings.Builder
	var v json.RawMessage
	if json.Unmarshal([]byte(s), &v) != nil {
		return s
	}
	out, err := json.Marshal(v)
	if err != nil {
		return s
	}
	b.Write(out)
	return b.String()
}

// ParseGUID reads the text of a guid, with or without dashes and braces, and
// returns it in lower case with dashes. What follows its 32 digits is ignored.
// (toguid-function)
func ParseGUID(s string) (string, bool) {
	s = strings.Trim(strings.TrimSpace(s), "{}()")
	hex := make([]byte, 0, 32)
	for i := 0; i < len(s) && len(hex) < 32; i++ {
		switch c := s[i]; {
		case c == '-':
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
			hex = append(hex, c)
		case c >= 'A' && c <= 'F':
			hex = append(hex, c+'a'-'A')
		default:
			return "", false
		}
	}
	if len(hex) != 32 {
		return "", false
	}
	h := string(hex)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], true
}

// JSONText returns what tostring makes of a dynamic constant: the characters of
// a string, the JSON text of anything else.
func JSONText(text string) (string, bool) {
	if c, ok := jsonScalar(text); ok && c.T == String {
		return c.Text, true
	}
	return text, text != "null"
}

// CaptureGroups is the number of groups in a regular expression.
func CaptureGroups(re string) int {
	parsed, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return 0
	}
	return parsed.MaxCap()
}

// Groups returns the groups of a regular expression that a JSON array names, by
// number or by name.
func Groups(re, text string) []int {
	parsed, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return nil
	}
	names := parsed.CapNames()
	elems, _ := jsonElements(text)
	var out []int
	for _, e := range elems {
		if n, ok := constInt(e); ok && n >= 0 && int(n) < len(names) {
			out = append(out, int(n))
		}
		if c, ok := e.(*Const); ok && c.T == String {
			for i, name := range names {
				if i > 0 && name == c.Text {
					out = append(out, i)
				}
			}
		}
	}
	return out
}

// ParseInt reads a decimal whole number.
func ParseInt(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// ParseJSON reads text as parse_json does: JSON as a dynamic value, other text
// as a string value, nothing as null.
func ParseJSON(s string) *Const {
	if strings.TrimSpace(s) == "" {
		return &Const{T: Dynamic, Null: true}
	}
	if json.Valid([]byte(s)) {
		text := compactJSON(s)
		return &Const{T: Dynamic, Text: text, Null: text == "null"}
	}
	return &Const{T: Dynamic, Text: string(AppendJSONString(nil, s))}
}

// StringElements returns the strings in a JSON array.
func StringElements(text string) []string {
	elems, _ := jsonElements(text)
	var out []string
	for _, e := range elems {
		if c, ok := e.(*Const); ok && c.T == String {
			out = append(out, c.Text)
		}
	}
	return out
}
