package plan

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// NameKind is how a column is named that holds a function's result and is
// given no name.
type NameKind uint8

// The kinds of naming, as the official binder knows them.
const (
	nameNone        NameKind = iota // ColumnN, print_N
	nameFirst                       // as the first argument
	namePrefixFirst                 // prefix_ and the first argument
	nameNameFirst                   // the function's name, _ and the first argument
	namePrefix                      // the prefix alone
	nameOnly                        // as the only argument
	nameColumnValue                 // the column that the first argument's text names
)

// Func is a scalar function or an aggregate.
type Func struct {
	Name  string
	Group string // string, datetime, ..., aggregate
	Doc   string
	// Replaced names the function to use instead, for old spellings.
	Replaced string
	Sigs     []Sig

	// Base is the name of the function whose SQL this one shares: its own, or
	// that of the function it is an old spelling of.
	Base      string
	Aggregate bool
	// ID numbers the functions from 0, aggregates included.
	ID int

	naming NameKind
	prefix string
}

// Window says whether the function works over the rows of a serialized row set.
func (f *Func) Window() bool { return f.Group == "window" }

// Sig is one way to call a function.
type Sig struct {
	Params []Param
	// Result is the type of the result, Unknown when resultKind decides.
	Result Type

	result   string // $0, $1, $type, widest, common, promoted, custom or a type
	min, max int    // number of arguments; max is -1 without a limit
	text     string
}

// String returns the signature in Kusto's manner: (text: string, ...) : long.
func (s *Sig) String() string {
	var b strings.Builder
	b.WriteByte('(')
	for i := range s.Params {
		p := &s.Params[i]
		if i > 0 {
			b.WriteString(", ")
		}
		if p.Min == 0 {
			b.WriteByte('[')
		}
		b.WriteString(p.Name)
		b.WriteString(": ")
		b.WriteString(p.class)
		if p.Min == 0 {
			b.WriteByte(']')
		}
		if p.Max != 1 {
			b.WriteString(", ...")
		}
	}
	b.WriteString("): ")
	switch s.result {
	case "$0":
		b.WriteString("type of " + s.Params[0].Name)
	case "$1":
		b.WriteString("type of " + s.Params[1].Name)
	case "$type":
		b.WriteString("the given type")
	case "widest", "common":
		b.WriteString("the arguments' common type")
	case "promoted":
		b.WriteString("type of " + s.Params[0].Name + " (int: long)")
	case "custom":
		b.WriteString("dynamic")
	default:
		b.WriteString(s.result)
	}
	return b.String()
}

// Param is a parameter of a signature.
type Param struct {
	Name string
	// Min and Max say how often it occurs; Max is -1 without a limit.
	Min, Max int

	class   string // a type's name, or scalar, number, integer, ...
	oneType bool   // class is a type's name
	accepts typeSet
	constant, literal,
	column, star, starOnly bool
}

// typeSet is a set of types, a bit each.
type typeSet uint16

func (s typeSet) has(t Type) bool { return s&(1<<t) != 0 }

func setOf(types ...Type) typeSet {
	var s typeSet
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

const allTypes typeSet = 1<<(Dynamic+1) - 1

// classes are the kinds of parameters: which types of argument they take.
// What takes text takes dynamic values too, as Kusto does; Unknown is taken
// everywhere, as an error was reported for it already.
var classes = map[string]typeSet{
	"scalar": allTypes, "any": allTypes, "common": allTypes, "common1": allTypes, "tabular": allTypes,
	"number":       setOf(Int, Long, Real, Decimal, Dynamic),
	"integer":      setOf(Int, Long, Dynamic),
	"summable":     setOf(Int, Long, Real, Decimal, Datetime, Timespan, Dynamic),
	"orderable":    allTypes,
	"array":        setOf(Dynamic),
	"bag":          setOf(Dynamic),
	"notdynamic":   allTypes,
	"stringdyn":    setOf(String, Dynamic),
	"stringarray":  setOf(String, Dynamic),
	"integerarray": setOf(Int, Long, Dynamic),
	"numberbool":   setOf(Int, Long, Real, Decimal, Bool, Dynamic),
	"notrealbool":  allTypes &^ setOf(Real, Bool),
	"type":         0,
	"string":       setOf(String, Dynamic),
	"bool":         setOf(Bool),
	"int":          setOf(Int, Long, Dynamic),
	"long":         setOf(Int, Long, Dynamic),
	"real":         setOf(Int, Long, Real, Decimal, Dynamic),
	"decimal":      setOf(Int, Long, Real, Decimal),
	"datetime":     setOf(Datetime),
	"timespan":     setOf(Timespan),
	"guid":         setOf(GUID, String, Dynamic),
	"dynamic":      setOf(Dynamic),
}

// parseSigs reads the signatures of a line of the table:
//
//	(name class flags {min,max}, ...) result ; (...) result
//
// flags: ! constant, !! literal, @ column, * a star is allowed, ** only a star.
func parseSigs(name, text string) []Sig {
	var sigs []Sig
	for _, one := range strings.Split(text, " ; ") {
		end := strings.LastIndexByte(one, ')')
		s := Sig{result: strings.TrimSpace(one[end+1:]), text: one}
		if t, ok := TypeByName(s.result); ok {
			s.Result = t
		}
		if body := one[1:end]; body != "" {
			for _, part := range strings.Split(body, ", ") {
				p := Param{Min: 1, Max: 1}
				if i := strings.IndexByte(part, '{'); i >= 0 {
					lo, hi, _ := strings.Cut(strings.TrimSuffix(part[i+1:], "}"), ",")
					p.Min, _ = strconv.Atoi(lo)
					p.Max = -1
					if hi != "" {
						p.Max, _ = strconv.Atoi(hi)
					}
					part = part[:i]
				}
				var class string
				p.Name, class, _ = strings.Cut(part, " ")
				p.class = strings.TrimRight(class, "!@*")
				switch class[len(p.class):] {
				case "!":
					p.constant = true
				case "!!":
					p.constant, p.literal = true, true
				case "@":
					p.column = true
				case "*":
					p.star = true
				case "**":
					p.star, p.starOnly = true, true
				}
				accepts, ok := classes[p.class]
				if !ok {
					panic(fmt.Sprintf("function %s: no parameter class %q", name, p.class))
				}
				p.accepts = accepts | setOf(Unknown)
				_, p.oneType = TypeByName(p.class)
				s.Params = append(s.Params, p)
			}
		}
		for i := range s.Params {
			p := &s.Params[i]
			s.min += p.Min
			if p.Max < 0 || s.max < 0 {
				s.max = -1
			} else {
				s.max += p.Max
			}
		}
		sigs = append(sigs, s)
	}
	return sigs
}

// repeated returns how many times the repeated parameters of the signature
// occur when it is called with n arguments. Parameters that repeat are adjacent
// and repeat together (case: predicate, then, predicate, then, ..., else).
func (s *Sig) param(i, n int) *Param {
	first := -1
	last := -1
	for k := range s.Params {
		if s.Params[k].Max != 1 && s.Params[k].Max != 0 {
			if first < 0 {
				first = k
			}
			last = k
		}
	}
	if first < 0 {
		if i < len(s.Params) {
			return &s.Params[i]
		}
		return nil
	}
	after := len(s.Params) - 1 - last
	// Optional parameters after repeated ones do not occur in the table.
	switch {
	case i < first:
		return &s.Params[i]
	case i >= n-after:
		return &s.Params[last+1+i-(n-after)]
	default:
		return &s.Params[first+(i-first)%(last-first+1)]
	}
}

// Functions returns all scalar functions and aggregates, by name.
func Functions() []*Func {
	all := make([]*Func, len(functionList))
	copy(all, functionList)
	sort.Slice(all, func(i, j int) bool {
		if all[i].Name != all[j].Name {
			return all[i].Name < all[j].Name
		}
		return !all[i].Aggregate
	})
	return all
}

var functionList, scalarFuncs, aggregateFuncs = buildFunctions()

func buildFunctions() (list []*Func, scalars, aggregates map[string]*Func) {
	scalars, aggregates = map[string]*Func{}, map[string]*Func{}
	for i, r := range functionTable {
		f := &Func{
			Name: r.name, Group: r.group, Doc: r.doc, Replaced: r.replaced, Base: r.name,
			Aggregate: r.group == "aggregate", ID: i, naming: r.naming, prefix: r.prefix,
			Sigs: parseSigs(r.name, r.sigs),
		}
		if r.naming == nameNameFirst {
			f.naming, f.prefix = namePrefixFirst, r.name
		}
		list = append(list, f)
		if f.Aggregate {
			aggregates[f.Name] = f
		} else {
			scalars[f.Name] = f
		}
	}
	for _, f := range list {
		of := scalars
		if f.Aggregate {
			of = aggregates
		}
		if r, ok := of[f.Replaced]; ok {
			f.Base = r.Base
		}
		if b, ok := sameAs[f.Name]; ok && !f.Aggregate {
			f.Base = b
		}
	}
	return list, scalars, aggregates
}

// sameAs are functions that are other functions under a second current name.
var sameAs = map[string]string{
	"todouble": "toreal", "toboolean": "tobool", "floor": "bin", "iif": "iff", "hash_xxhash64": "hash",
	"array_strcat": "strcat_array", "extractjson": "extract_json", "array_iif": "array_iff", "parse_json": "todynamic", "parsejson": "todynamic", "toobject": "todynamic",
	"array_sum": "series_sum", "monthofyear": "getmonth", "row_rank": "row_rank_dense",
	"replace": "replace", // its arguments are in another order than replace_regex's
}

// unsupportedFuncs are names of Kusto's own functions that hubscope does not
// have: they are refused by name instead of being called unknown.
var unsupportedFuncs = stringSet(
	"cluster", "external_table", "materialized_view", "entity_group", "stored_query_result", "graph",
	"parse_user_agent", "tdigest_isvalid", "hll_isvalid", "geo_from_wkt", "geo_angle",
	"geo_closest_point_on_line", "geo_closest_point_on_polygon", "geo_distance_point_to_line",
	"geo_distance_point_to_polygon", "geo_intersects_2lines", "geo_intersects_line_with_polygon",
	"geo_intersects_2polygons", "geo_intersection_2lines", "geo_intersection_line_with_polygon",
	"geo_intersection_2polygons", "geo_union_polygons_array", "geo_simplify_polygons_array",
	"geo_union_lines_array", "geo_polygon_to_h3cells", "geo_polygon_to_s2cells", "geo_polygon_densify",
	"geo_polygon_area", "geo_polygon_buffer", "geo_polygon_centroid", "geo_polygon_perimeter",
	"geo_polygon_simplify", "geo_line_buffer", "geo_line_centroid", "geo_line_densify", "geo_line_simplify",
	"geo_line_locate_point", "geo_line_interpolate_point", "geo_line_to_s2cells", "geo_point_buffer", "parse_xml",
	"extent_id", "extent_tags", "current_principal", "map", "inner_nodes", "node_id", "node_degree_in",
	"node_degree_out", "labels", "all", "current_principal_details", "current_principal_is_member_of", "extentid",
	"current_node_id", "row_id", "cursor_after", "cursor_before_or_at", "cursor_current", "current_cursor",
	"rowstore_ordinal_range", "geo_info_from_ip_address", "workspace", "app", "arg", "adx", "_GetWatchlist",
	"FileProfile", "DeviceFromIP", "SeenBy", "AssignedIPAddresses", "passthrough", "ipv6_lookup",
)

func stringSet(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// functionTable is the single list of functions: names, groups, how their
// columns are named, what replaces an old spelling, signatures, documentation.
var functionTable = []struct {
	name, group string
	naming      NameKind
	prefix      string
	replaced    string
	sigs        string
	doc         string
}{

	// string
	{"strcat", "string", nameNone, "", "", "(arg scalar{1,64}) string", "Joins its arguments as text."},
	{"strcat_array", "string", nameNone, "", "", "(array array, delimiter scalar) string", "Joins the elements of an array with a delimiter."},
	{"array_strcat", "string", nameNone, "", "", "(array array, delimiter scalar) string", "Joins the elements of an array with a delimiter."},
	{"strcat_delim", "string", nameNone, "", "", "(delimiter scalar, arg scalar{2,64}) string", "Joins arguments with a delimiter between them."},
	{"strcmp", "string", nameNone, "", "", "(s1 scalar, s2 scalar) long", "Compares two strings: -1, 0 or 1."},
	{"strrep", "string", nameNone, "", "", "(value scalar, multiplier long, delimiter scalar{0,1}) string", "Repeats a value, with an optional delimiter between."},
	{"strlen", "string", nameNameFirst, "", "", "(string stringdyn) long", "Length in characters."},
	{"string_size", "string", nameNameFirst, "", "", "(string stringdyn) long", "Length in bytes."},
	{"toupper", "string", nameNone, "", "", "(value scalar) string", "Upper case."},
	{"tolower", "string", nameNone, "", "", "(value scalar) string", "Lower case."},
	{"substring", "string", nameNone, "", "", "(string scalar, start integer, length integer{0,1}) string", "Part of a string from a start (0-based, negative from the end) and of a length."},
	{"regex_quote", "string", nameNone, "", "", "(string scalar) string", "Escapes a string so that a regular expression matches it as it is."},
	{"indexof", "string", nameNone, "", "", "(string scalar, match scalar, start integer{0,1}, length integer{0,1}, occurrence integer!{0,1}) long", "Place of the first (or n-th) occurrence, 0-based, -1 if none."},
	{"indexof_regex", "string", nameNone, "", "", "(string scalar, match scalar!, start integer{0,1}, length integer{0,1}, occurrence integer!{0,1}) long", "Place of the first (or n-th) match of a regular expression, -1 if none."},
	{"has_any_index", "string", nameNone, "", "", "(source stringdyn, values array) long", "Index of the first array element that the text has as a term, -1 if none."},
	{"reverse", "string", nameNone, "", "", "(value scalar) string", "The characters in reverse order."},
	{"split", "string", nameFirst, "", "", "(source scalar, delimiter string, requestedIndex integer{0,1}) dynamic", "Splits text at a delimiter into an array, or into the one requested element."},
	{"parse_command_line", "string", nameNone, "", "", "(command scalar, parser string) dynamic", "Splits a Windows command line into an array of arguments."},
	{"extract", "string", nameNone, "", "", "(regex string!, captureGroup long, source string) string ; (regex string!, captureGroup long, source string, typeLiteral type!!) $type", "First match of a regular expression, or of one of its groups."},
	{"extractall", "string", nameNone, "", "extract_all", "(regex string!, source string) dynamic ; (regex string!, captureGroups array, source string) dynamic", "All matches of a regular expression's groups, as an array."},
	{"extract_all", "string", nameNone, "", "", "(regex string!, source string) dynamic ; (regex string!, captureGroups array, source string) dynamic", "All matches of a regular expression's groups, as an array."},
	{"extractjson", "string", nameNone, "", "", "(jsonPath string!, jsonText string) string ; (jsonPath string!, jsonText string, type type!!) $type", "Value at a JSON path in a text."},
	{"extract_json", "string", nameNone, "", "", "(jsonPath string!, jsonText string) string ; (jsonPath string!, jsonText string, type type!!) $type", "Value at a JSON path in a text."},
	{"replace", "string", nameNone, "", "replace_regex", "(regex string!, rewrite string!, source string) string", "Replaces all matches of a regular expression."},
	{"replace_regex", "string", nameNone, "", "", "(source string, lookup_regex string!, rewrite_pattern string!) string", "Replaces all matches of a regular expression; \\1 stands for a group."},
	{"replace_string", "string", nameNone, "", "", "(text string, lookup string, rewrite string) string", "Replaces all occurrences of a text."},
	{"replace_strings", "string", nameNone, "", "", "(text string, lookups array, rewrites array) string", "Replaces several texts by several others, in order."},
	{"trim_start", "string", nameNone, "", "", "(regex string!, source string) string", "Removes a leading match of a regular expression."},
	{"trim_end", "string", nameNone, "", "", "(regex string!, source string) string", "Removes a trailing match of a regular expression."},
	{"trim", "string", nameNone, "", "", "(regex string!, source string) string", "Removes leading and trailing matches of a regular expression."},
	{"countof", "string", nameNone, "", "", "(source string, search string, kind string!!{0,1}) long", "Counts occurrences of a text or of a regular expression."},
	{"translate", "string", nameNone, "", "", "(searchList string, replacementList string, source string) string", "Replaces characters of one set by those of another."},
	{"make_string", "string", nameNone, "", "unicode_codepoints_to_string", "(value integerarray{1,}) string", "Text from Unicode code points."},
	{"unicode_codepoints_to_string", "string", nameNone, "", "", "(value integerarray{1,}) string", "Text from Unicode code points."},
	{"unicode_codepoints_from_string", "string", nameNone, "", "", "(value scalar) dynamic", "Array of a text's Unicode code points."},
	{"to_utf8", "string", nameNone, "", "unicode_codepoints_from_string", "(value scalar) dynamic", "Array of a text's Unicode code points."},
	{"isascii", "string", nameNone, "", "", "(value scalar) bool", "True when all characters are ASCII."},
	{"isutf8", "string", nameNone, "", "", "(value scalar) bool", "True when the text is valid UTF-8."},
	{"isempty", "string", nameNone, "", "", "(value scalar) bool", "True for an empty string or null."},
	{"isnotempty", "string", nameNone, "", "", "(value scalar) bool", "True unless empty or null."},
	{"notempty", "string", nameNone, "", "isnotempty", "(value scalar) bool", "True unless empty or null."},
	{"punycode_to_string", "string", nameNone, "", "", "(string string) string", "Decodes punycode."},
	{"punycode_from_string", "string", nameNone, "", "", "(string string) string", "Encodes as punycode."},
	{"punycode_domain_to_string", "string", nameNone, "", "", "(string string) string", "Encodes an internationalized domain name."},
	{"punycode_domain_from_string", "string", nameNone, "", "", "(string string) string", "Decodes an internationalized domain name."},
	{"parse_csv", "string", nameFirst, "", "", "(csv_text stringdyn) dynamic", "Splits the first record of CSV text into an array."},
	{"parse_path", "string", nameNone, "", "", "(path string) dynamic", "Parts of a file path as a bag."},
	{"parse_version", "string", nameNone, "", "", "(version string) decimal", "A version text as a comparable decimal."},
	{"parse_xml", "string", nameNone, "", "", "(xml string) dynamic", "XML text as a bag, null if it is none."},
	{"format_bytes", "string", nameFirst, "", "", "(size number, precision number!{0,1}, format string!{0,1}) string", "Formats a number of bytes with a unit."},

	// conversion
	{"tostring", "conversion", nameFirst, "", "", "(value scalar) string", "Converts to string; null becomes empty."},
	{"tohex", "conversion", nameFirst, "", "", "(value integer, minLength integer{0,1}) string", "Hexadecimal digits of an integer, padded to a length."},
	{"todynamic", "conversion", nameFirst, "", "", "(value string) dynamic", "Reads JSON text; text that is not JSON stays a string value."},
	{"toobject", "conversion", nameFirst, "", "todynamic", "(value string) dynamic", "Reads JSON text; text that is not JSON stays a string value."},
	{"parse_json", "conversion", nameFirst, "", "", "(json_text stringdyn) dynamic", "Reads JSON text; text that is not JSON stays a string value."},
	{"parsejson", "conversion", nameFirst, "", "parse_json", "(json_text stringdyn) dynamic", "Reads JSON text; text that is not JSON stays a string value."},
	{"dynamic_to_json", "conversion", nameNone, "", "", "(dynamic scalar) string", "JSON text of a dynamic value with sorted keys."},
	{"tolong", "conversion", nameFirst, "", "", "(value scalar) long", "Converts to long, null if that fails."},
	{"toint", "conversion", nameFirst, "", "", "(value scalar) int", "Converts to int, null if that fails."},
	{"toreal", "conversion", nameFirst, "", "", "(value scalar) real", "Converts to real, null if that fails."},
	{"todouble", "conversion", nameFirst, "", "", "(value scalar) real", "Converts to real, null if that fails."},
	{"todatetime", "conversion", nameFirst, "", "", "(value scalar) datetime", "Converts to datetime, null if that fails."},
	{"totimespan", "conversion", nameFirst, "", "", "(value scalar) timespan", "Converts to timespan, null if that fails."},
	{"totime", "conversion", nameFirst, "", "totimespan", "(value scalar) timespan", "Converts to timespan, null if that fails."},
	{"tobool", "conversion", nameFirst, "", "", "(value scalar) bool", "Converts to bool, null if that fails."},
	{"toboolean", "conversion", nameFirst, "", "", "(value scalar) bool", "Converts to bool, null if that fails."},
	{"todecimal", "conversion", nameFirst, "", "", "(value scalar) decimal", "Converts to decimal, null if that fails."},
	{"toguid", "conversion", nameFirst, "", "", "(value stringdyn) guid", "Converts to guid, null if that fails."},
	{"gettype", "conversion", namePrefixFirst, "type", "", "(value scalar) string", "Name of a value's runtime type."},

	// encoding
	{"url_encode", "encoding", nameNone, "", "", "(url string) string", "Encodes for a URL, keeping its reserved characters."},
	{"url_encode_component", "encoding", nameNone, "", "", "(url string) string", "Encodes for a part of a URL."},
	{"url_decode", "encoding", nameNone, "", "", "(encoded_url string) string", "Decodes a URL."},
	{"base64_encodestring", "encoding", nameNone, "", "base64_encode_tostring", "(string string) string", "Encodes text as base64."},
	{"zlib_compress_to_base64_string", "encoding", nameNone, "", "", "(string string!) string", "Packs a constant text with zlib, as base64."},
	{"zlib_decompress_from_base64_string", "encoding", nameNone, "", "", "(string string!) string", "Unpacks a constant text that zlib packed."},
	{"gzip_compress_to_base64_string", "encoding", nameNone, "", "", "(string string!) string", "Packs a constant text with gzip, as base64."},
	{"gzip_decompress_from_base64_string", "encoding", nameNone, "", "", "(string string!) string", "Unpacks a constant text that gzip packed."},
	{"base64_encode_tostring", "encoding", nameNone, "", "", "(string string) string", "Encodes text as base64."},
	{"base64_decodestring", "encoding", nameNone, "", "base64_decode_tostring", "(base64_string string) string", "Decodes base64 to text."},
	{"base64_decode_tostring", "encoding", nameNone, "", "", "(base64_string string) string", "Decodes base64 to text."},
	{"base64_decode_toarray", "encoding", nameNone, "", "", "(base64_string string) dynamic", "Decodes base64 to an array of bytes."},
	{"base64_encode_fromarray", "encoding", nameNone, "", "", "(base64_string_decoded_as_array array) string", "Encodes an array of bytes as base64."},
	{"base64_decode_toguid", "encoding", nameNone, "", "", "(base64_string string) guid", "Decodes base64 to a guid."},
	{"base64_encode_fromguid", "encoding", nameNone, "", "", "(guid guid) string", "Encodes a guid as base64."},
	{"parse_url", "encoding", nameNone, "", "", "(url string) dynamic", "Parts of a URL as a bag."},
	{"parseurl", "encoding", nameNone, "", "parse_url", "(url string) dynamic", "Parts of a URL as a bag."},
	{"parse_urlquery", "encoding", nameNone, "", "", "(query string) dynamic", "Parameters of a URL query as a bag."},
	{"parseurlquery", "encoding", nameNone, "", "parse_urlquery", "(query string) dynamic", "Parameters of a URL query as a bag."},

	// network
	{"parse_ipv4", "network", nameNone, "", "", "(ip string) long", "IPv4 text to a number, null if it is not one."},
	{"parse_ipv4_mask", "network", nameNone, "", "", "(ip string, prefix long) long", "IPv4 text and prefix to a number."},
	{"parse_ipv6", "network", nameNone, "", "", "(ip string) string", "IPv6 or IPv4 text to canonical IPv6 text."},
	{"parse_ipv6_mask", "network", nameNone, "", "", "(ip string, prefix long) string", "IPv6 or IPv4 text and prefix to canonical IPv6 text."},
	{"format_ipv4", "network", nameNone, "", "", "(ip scalar, prefix long{0,1}) string", "IPv4 address with a prefix applied, as text."},
	{"format_ipv4_mask", "network", nameNone, "", "", "(ip scalar, prefix long) string", "IPv4 address in CIDR notation."},
	{"ipv4_compare", "network", nameNone, "", "", "(ip1 string, ip2 string, prefix long{0,1}) long", "Compares two IPv4 addresses under their prefixes: -1, 0, 1."},
	{"ipv4_is_match", "network", nameNone, "", "", "(ip1 string, ip2 string, prefix long{0,1}) bool", "True when two IPv4 addresses match under their prefixes."},
	{"ipv4_is_in_range", "network", nameNone, "", "", "(ip string, ip_range string) bool", "True when an IPv4 address lies in a CIDR range."},
	{"ipv4_is_in_any_range", "network", nameNone, "", "", "(ip stringdyn, ranges string{1,}) bool ; (ip stringdyn, ranges array) bool", "True when an IPv4 address lies in one of the ranges."},
	{"ipv4_is_private", "network", nameNone, "", "", "(ip string) bool", "True for a private IPv4 address (RFC 1918)."},
	{"ipv4_netmask_suffix", "network", nameNone, "", "", "(ip string) long", "Prefix length of an IPv4 text."},
	{"ipv4_range_to_cidr_list", "network", nameNone, "", "", "(start_ip string, end_ip string) dynamic", "CIDR ranges that cover all addresses from one to another."},
	{"ipv6_compare", "network", nameNone, "", "", "(ip1 string, ip2 string, prefix long{0,1}) long", "Compares two IP addresses under their prefixes: -1, 0, 1."},
	{"ipv6_is_match", "network", nameNone, "", "", "(ip1 string, ip2 string, prefix long{0,1}) bool", "True when two IP addresses match under their prefixes."},
	{"ipv6_is_in_range", "network", nameNone, "", "", "(ip string, ip_range string) bool", "True when an IPv6 address lies in a CIDR range."},
	{"ipv6_is_in_any_range", "network", nameNone, "", "", "(ip stringdyn, ranges string{1,}) bool ; (ip stringdyn, ranges array) bool", "True when an IPv6 address lies in one of the ranges."},
	{"has_ipv4", "network", nameNone, "", "", "(source stringdyn, ip string) bool", "True when the text has the IPv4 address, properly delimited."},
	{"has_ipv4_prefix", "network", nameNone, "", "", "(source stringdyn, ip_prefix string) bool", "True when the text has an IPv4 address with the prefix."},
	{"has_any_ipv4", "network", nameNone, "", "", "(source stringdyn, ips string{1,}) bool ; (source stringdyn, ips array) bool", "True when the text has one of the IPv4 addresses."},
	{"has_any_ipv4_prefix", "network", nameNone, "", "", "(source stringdyn, ip_prefixes string{1,}) bool ; (source stringdyn, ip_prefixes array) bool", "True when the text has an IPv4 address with one of the prefixes."},

	// datetime
	{"now", "datetime", nameNone, "", "", "(offset timespan{0,1}) datetime", "Time of the query, the same everywhere in it, plus an offset."},
	{"ago", "datetime", nameNone, "", "", "(timespan timespan) datetime", "Time of the query minus a timespan."},
	{"bin", "datetime", nameFirst, "", "", "(value number, roundTo number) widest ; (value timespan, roundTo timespan) timespan ; (value datetime, roundTo datetime) datetime ; (value datetime, roundTo timespan) datetime", "Rounds down to a multiple of a size."},
	{"floor", "datetime", nameFirst, "", "", "(value number, roundTo number) widest ; (value timespan, roundTo timespan) timespan ; (value datetime, roundTo datetime) datetime ; (value datetime, roundTo timespan) datetime", "Rounds down to a multiple of a size."},
	{"bin_at", "datetime", nameFirst, "", "", "(value number, bin_size number, fixed_point number) widest ; (value timespan, bin_size number, fixed_point timespan) timespan ; (value timespan, bin_size timespan, fixed_point timespan) timespan ; (value datetime, bin_size summable, fixed_point datetime) datetime", "Rounds down to a multiple of a size counted from a fixed point."},
	{"bin_auto", "datetime", nameFirst, "", "", "(value summable) custom", "Rounds down to the size that `set query_bin_auto_size` gives."},
	{"startofday", "datetime", nameFirst, "", "", "(date datetime, offset long{0,1}) datetime", "Start of the day, moved by a number of days."},
	{"startofweek", "datetime", nameNone, "", "", "(date datetime, offset long{0,1}) datetime", "Start of the week (Sunday), moved by a number of weeks."},
	{"startofmonth", "datetime", nameNone, "", "", "(date datetime, offset long{0,1}) datetime", "Start of the month, moved by a number of months."},
	{"startofyear", "datetime", nameNone, "", "", "(date datetime, offset long{0,1}) datetime", "Start of the year, moved by a number of years."},
	{"endofday", "datetime", nameNone, "", "", "(date datetime, offset long{0,1}) datetime", "Last tick of the day, moved by a number of days."},
	{"endofweek", "datetime", nameNone, "", "", "(date datetime, offset long{0,1}) datetime", "Last tick of the week, moved by a number of weeks."},
	{"endofmonth", "datetime", nameNone, "", "", "(date datetime, offset long{0,1}) datetime", "Last tick of the month, moved by a number of months."},
	{"endofyear", "datetime", nameNone, "", "", "(date datetime, offset long{0,1}) datetime", "Last tick of the year, moved by a number of years."},
	{"dayofweek", "datetime", nameNone, "", "", "(date datetime) timespan", "Days since the last Sunday, as a timespan."},
	{"dayofmonth", "datetime", nameNone, "", "", "(date datetime) int", "Day of the month."},
	{"dayofyear", "datetime", nameNone, "", "", "(date datetime) int", "Day of the year."},
	{"hourofday", "datetime", nameNone, "", "", "(date datetime) int", "Hour of the day."},
	{"week_of_year", "datetime", nameNone, "", "", "(date datetime) int", "ISO 8601 week."},
	{"weekofyear", "datetime", nameNone, "", "week_of_year", "(date datetime) int", "ISO 8601 week."},
	{"monthofyear", "datetime", nameNone, "", "", "(date datetime) int", "Month of the year."},
	{"getyear", "datetime", nameNone, "", "", "(date datetime) int", "Year."},
	{"getmonth", "datetime", nameNone, "", "", "(date datetime) int", "Month of the year."},
	{"datetime_part", "datetime", nameNone, "", "", "(part string!!, date datetime) int", "A named part of a datetime."},
	{"datepart", "datetime", nameNone, "", "datetime_part", "(part string!!, date datetime) int", "A named part of a datetime."},
	{"datetime_add", "datetime", nameNone, "", "", "(part string!!, value integer, datetime datetime) datetime", "Adds a number of named parts to a datetime."},
	{"datetime_diff", "datetime", nameNone, "", "", "(part string!!, datetime1 datetime, datetime2 datetime) long", "Boundaries of a named part between two datetimes."},
	{"datetime_local_to_utc", "datetime", nameNone, "", "", "(from datetime, timezone string) datetime", "Local time in a time zone to UTC."},
	{"datetime_utc_to_local", "datetime", nameNone, "", "", "(from datetime, timezone string) datetime", "UTC to local time in a time zone."},
	{"datetime_list_timezones", "datetime", nameNone, "", "", "() dynamic", "Names of the time zones."},
	{"format_datetime", "datetime", nameFirst, "", "", "(date datetime, format string!!) string", "Formats a datetime by a pattern such as yyyy-MM-dd HH:mm:ss.fff."},
	{"format_timespan", "datetime", nameFirst, "", "", "(timespan timespan, format string!!) string", "Formats a timespan by a pattern such as d.hh:mm:ss."},
	{"make_datetime", "datetime", nameOnly, "", "", "(year number, month number, day number, hour number{0,1}, minute number{0,1}, second number{0,1}) datetime ; (value scalar) datetime", "Builds a datetime from its parts."},
	{"make_timespan", "datetime", nameOnly, "", "", "(days integer, hours integer, minutes integer, seconds number) timespan ; (hours integer, minutes integer, seconds number{0,1}) timespan ; (value scalar) timespan", "Builds a timespan from its parts."},
	{"unixtime_seconds_todatetime", "datetime", nameNone, "", "", "(number number) datetime", "Datetime from seconds since 1970."},
	{"unixtime_milliseconds_todatetime", "datetime", nameNone, "", "", "(number number) datetime", "Datetime from milliseconds since 1970."},
	{"unixtime_microseconds_todatetime", "datetime", nameNone, "", "", "(number number) datetime", "Datetime from microseconds since 1970."},
	{"unixtime_nanoseconds_todatetime", "datetime", nameNone, "", "", "(number number) datetime", "Datetime from nanoseconds since 1970."},

	// hash
	{"hash", "hash", nameNone, "", "", "(source notdynamic, mod integer{0,1}) long", "xxHash64 as a signed number, or modulo a number."},
	{"hash_xxhash64", "hash", nameNone, "", "", "(source notdynamic, mod integer{0,1}) long", "xxHash64 as a signed number, or modulo a number."},
	{"hash_sha256", "hash", nameNone, "", "", "(source notdynamic) string", "SHA-256 in lower-case hex."},
	{"hash_sha1", "hash", nameNone, "", "", "(source notdynamic) string", "SHA-1 in lower-case hex."},
	{"hash_md5", "hash", nameNone, "", "", "(source notdynamic) string", "MD5 in lower-case hex."},
	{"hash_combine", "hash", nameNone, "", "", "(source scalar{2,}) long", "Combines hashes into one."},
	{"hash_many", "hash", nameNone, "", "", "(source notdynamic{1,}) long", "Combined xxHash64 of several values."},

	// logic
	{"iif", "logic", nameNone, "", "", "(if bool, then common, else common) common", "One value or the other, by a condition."},
	{"iff", "logic", nameNone, "", "", "(if bool, then common, else common) common", "One value or the other, by a condition."},
	{"case", "logic", nameNone, "", "", "(predicate bool{1,}, then common{1,}, else common) common", "The value of the first condition that holds, else the last argument."},
	{"not", "logic", nameNone, "", "", "(expression bool) bool", "Logical negation."},
	{"isnull", "logic", nameNone, "", "", "(expression scalar) bool", "True for null; a string never is."},
	{"isnotnull", "logic", nameNone, "", "", "(expression scalar) bool", "True unless null."},
	{"notnull", "logic", nameNone, "", "isnotnull", "(expression scalar) bool", "True unless null."},
	{"coalesce", "logic", nameNone, "", "", "(arg common1{2,64}) common", "The first argument that is not null (for strings: not empty)."},
	{"max_of", "logic", nameNone, "", "", "(arg common1{2,64}) common", "Largest argument."},
	{"min_of", "logic", nameNone, "", "", "(arg common1{2,64}) common", "Smallest argument."},
	{"around", "logic", nameNone, "", "", "(value scalar, center scalar, delta scalar) bool", "True when a value lies within a distance of a centre."},
	{"assert", "logic", nameNone, "", "", "(predicate bool, message string) bool", "Stops the query with a message unless a constant condition holds."},
	{"column_ifexists", "logic", nameColumnValue, "", "", "(column_name string!, defaultValue scalar) $1", "A column if the table has it, else a default."},
	{"columnifexists", "logic", nameColumnValue, "", "column_ifexists", "(column_name string!, defaultValue scalar) $1", "A column if the table has it, else a default."},
	{"iscolumnexists", "logic", nameNone, "", "", "(column_name string!) bool", "True when the table has the column."},

	// bitwise
	{"binary_and", "bitwise", nameFirst, "", "", "(value1 integer, value2 integer) long", "Bitwise and."},
	{"binary_or", "bitwise", nameFirst, "", "", "(value1 integer, value2 integer) long", "Bitwise or."},
	{"binary_xor", "bitwise", nameFirst, "", "", "(value1 integer, value2 integer) long", "Bitwise exclusive or."},
	{"binary_not", "bitwise", nameFirst, "", "", "(value integer) long", "Bitwise negation."},
	{"binary_shift_left", "bitwise", nameFirst, "", "", "(value integer, shift integer) long", "Shifts bits left."},
	{"binary_shift_right", "bitwise", nameFirst, "", "", "(value integer, shift integer) long", "Shifts bits right."},
	{"bitset_count_ones", "bitwise", nameFirst, "", "", "(value integer) long", "Number of bits set."},

	// dynamic
	{"array_length", "dynamic", nameNone, "", "", "(array array) long", "Number of elements, null for what is no array."},
	{"arraylength", "dynamic", nameNone, "", "array_length", "(array array) long", "Number of elements, null for what is no array."},
	{"array_concat", "dynamic", nameNone, "", "", "(array array{1,64}) custom", "Joins arrays."},
	{"array_iff", "dynamic", nameNone, "", "", "(condition_array array, when_true scalar, when_false scalar) custom", "Takes elements from one array or the other, by an array of conditions."},
	{"array_iif", "dynamic", nameNone, "", "", "(condition_array array, when_true scalar, when_false scalar) custom", "Takes elements from one array or the other, by an array of conditions."},
	{"array_index_of", "dynamic", nameNone, "", "", "(array array, value scalar, start integer{0,1}, length integer{0,1}, occurrence integer!{0,1}) long", "Place of a value in an array, -1 if none."},
	{"array_slice", "dynamic", nameNone, "", "", "(array array, start integer, end integer) $0", "Part of an array from a start to an end, both included."},
	{"array_split", "dynamic", nameNone, "", "", "(array array, index integer) $0 ; (array array, indices array) $0", "Splits an array at one or more indices."},
	{"array_shift_left", "dynamic", nameNone, "", "", "(array array, shift_count integer, default_value scalar{0,1}) $0", "Shifts elements left and fills up with a value."},
	{"array_shift_right", "dynamic", nameNone, "", "", "(array array, shift_count integer, default_value scalar{0,1}) $0", "Shifts elements right and fills up with a value."},
	{"array_rotate_left", "dynamic", nameNone, "", "", "(array array, rotate_count integer) $0", "Rotates elements left."},
	{"array_rotate_right", "dynamic", nameNone, "", "", "(array array, rotate_count integer) $0", "Rotates elements right."},
	{"array_reverse", "dynamic", nameNone, "", "", "(value array) $0", "Elements in reverse order."},
	{"array_sort_asc", "dynamic", nameNone, "", "", "(arrays array{1,64}) custom ; (arrays array{1,64}, nulls_last bool!) custom", "Sorts an array, and further arrays alike."},
	{"array_sort_desc", "dynamic", nameNone, "", "", "(arrays array{1,64}) custom ; (arrays array{1,64}, nulls_last bool!) custom", "Sorts an array downwards, and further arrays alike."},
	{"array_sum", "series", nameNone, "", "series_sum", "(array array) real", "Sum of the elements."},
	{"bag_keys", "dynamic", nameNone, "", "", "(object bag) dynamic", "Keys of a bag."},
	{"bag_has_key", "dynamic", nameNone, "", "", "(bag bag, key string) bool", "True when the bag has a key, or a path."},
	{"bag_merge", "dynamic", nameNone, "", "", "(bag bag{2,64}) custom", "Merges bags; the first value of a key wins."},
	{"bag_pack", "dynamic", nameNone, "", "", "(key string{1,}, value scalar{1,}) custom", "Bag from names and values."},
	{"bag_pack_columns", "dynamic", nameNone, "", "", "(value scalar@{1,}) custom", "Bag from columns and their names."},
	{"bag_remove_keys", "dynamic", nameNone, "", "", "(bag bag, keys array) custom", "Bag without some keys."},
	{"bag_set_key", "dynamic", nameNone, "", "", "(bag bag, key string!, value scalar) custom", "Bag with one key set."},
	{"dcount_hll", "dynamic", nameNameFirst, "", "", "(hll array) long", "Number of distinct values that an hll state has seen."},
	{"hll_merge", "dynamic", namePrefix, "hll_merged_result", "", "(hll array{2,16}) dynamic", "One hll state of several."},
	{"tdigest_merge", "dynamic", namePrefix, "tdigests_merge_result", "", "(tdigest array{2,16}) dynamic", "One digest of several."},
	{"merge_tdigest", "dynamic", namePrefix, "tdigests_merge_result", "tdigest_merge", "(tdigest array{2,16}) dynamic", "One digest of several."},
	{"percentile_tdigest", "dynamic", nameNameFirst, "", "", "(tdigest array, percentile1 real) dynamic ; (tdigest array, percentile1 real, type type!!) $type", "Nearest-rank percentile of a digest."},
	{"percentiles_array_tdigest", "dynamic", namePrefixFirst, "percentile_tdigest", "", "(tdigest array, percentiles array) dynamic ; (tdigest array, percentiles array, type type!!) dynamic ; (tdigest array, percentile real{1,}) dynamic", "Nearest-rank percentiles of a digest, as an array."},
	{"rank_tdigest", "dynamic", nameNone, "", "", "(digest array, value scalar) real", "Number of a digest's values that are not above a value."},
	{"percentrank_tdigest", "dynamic", nameNone, "", "", "(digest array, value scalar) real", "Share in percent of a digest's values that are not above a value."},
	{"bag_zip", "dynamic", nameNone, "", "", "(keys array, values array) dynamic", "Bag from an array of keys and one of values."},
	{"pack", "dynamic", nameNone, "", "bag_pack", "(key string{1,}, value scalar{1,}) custom", "Bag from names and values."},
	{"pack_dictionary", "dynamic", nameNone, "", "bag_pack", "(key string{1,}, value scalar{1,}) custom", "Bag from names and values."},
	{"pack_all", "dynamic", nameNone, "", "", "(ignore_null_empty scalar!!{0,1}) custom", "Bag from all columns."},
	{"pack_array", "dynamic", nameNone, "", "", "(value scalar{1,}) custom ; (value scalar**) custom", "Array of the arguments."},
	{"range", "dynamic", nameNone, "", "", "(start summable, stop summable, step summable{0,1}) dynamic", "Array from a start to a stop by steps."},
	{"repeat", "dynamic", namePrefixFirst, "repeat", "", "(value scalar, count long) dynamic", "Array with a value several times."},
	{"set_has_element", "dynamic", nameNone, "", "", "(set array, value scalar) bool", "True when the array holds the value."},
	{"set_union", "dynamic", nameNone, "", "", "(set array{2,64}) custom", "Distinct elements of all arrays."},
	{"set_intersect", "dynamic", nameNone, "", "", "(set array{2,64}) custom", "Distinct elements that all arrays have."},
	{"set_difference", "dynamic", nameNone, "", "", "(set array{2,64}) custom", "Distinct elements of the first array that no other has."},
	{"set_equals", "dynamic", nameNone, "", "", "(set1 array, set2 array) bool", "True when two arrays hold the same set."},
	{"jaccard_index", "dynamic", nameNone, "", "", "(set array{2,2}) dynamic", "Size of the intersection over that of the union."},
	{"treepath", "dynamic", namePrefixFirst, "tree", "", "(object bag) dynamic", "Paths of all leaves in a dynamic value."},
	{"zip", "dynamic", nameNone, "", "", "(array array{2,64}) dynamic", "Array of arrays: the n-th elements together."},
	{"column_names_of", "dynamic", nameNone, "", "", "(table tabular) dynamic", "Array of a table's column names."},

	// math
	{"abs", "math", nameFirst, "", "", "(number integer) long ; (number number) $0 ; (number timespan) timespan", "Absolute value."},
	{"acos", "math", nameFirst, "", "", "(number number) real", "Arc cosine."},
	{"asin", "math", nameFirst, "", "", "(number number) real", "Arc sine."},
	{"atan", "math", nameFirst, "", "", "(number number) real", "Arc tangent."},
	{"atan2", "math", nameFirst, "", "", "(y number, x number) real", "Angle of the point (x, y)."},
	{"beta_cdf", "math", nameNone, "", "", "(x number, alpha number, beta number) real", "Cumulative beta distribution."},
	{"beta_inv", "math", nameNone, "", "", "(probability number, alpha number, beta number) real", "Inverse of the cumulative beta distribution."},
	{"beta_pdf", "math", nameNone, "", "", "(x number, alpha number, beta number) real", "Density of the beta distribution."},
	{"ceiling", "math", nameFirst, "", "", "(number number) $0", "Rounds up."},
	{"cos", "math", nameFirst, "", "", "(number number) real", "Cosine."},
	{"cot", "math", nameNone, "", "", "(number number) real", "Cotangent."},
	{"degrees", "math", nameNone, "", "", "(radians number) real", "Radians to degrees."},
	{"erf", "math", nameFirst, "", "", "(number number) real", "Error function."},
	{"erfc", "math", nameFirst, "", "", "(number number) real", "Complementary error function."},
	{"exp", "math", nameFirst, "", "", "(number number) real", "e to a power."},
	{"exp2", "math", nameFirst, "", "", "(number number) real", "2 to a power."},
	{"exp10", "math", nameFirst, "", "", "(number number) real", "10 to a power."},
	{"gamma", "math", nameFirst, "", "", "(number number) real", "Gamma function."},
	{"isfinite", "math", nameNone, "", "", "(number real) bool", "True unless infinite or not a number."},
	{"isinf", "math", nameNone, "", "", "(number real) bool", "True for an infinity."},
	{"isnan", "math", nameNone, "", "", "(number real) bool", "True for not a number."},
	{"log", "math", nameFirst, "", "", "(number number) real", "Natural logarithm."},
	{"log2", "math", nameFirst, "", "", "(number number) real", "Logarithm to base 2."},
	{"log10", "math", nameFirst, "", "", "(number number) real", "Logarithm to base 10."},
	{"loggamma", "math", nameFirst, "", "", "(number number) real", "Logarithm of the absolute gamma function."},
	{"pi", "math", nameNone, "", "", "() real", "The number pi."},
	{"pow", "math", nameFirst, "", "", "(base number, exponent number) real", "A number to a power."},
	{"radians", "math", nameNone, "", "", "(degrees number) real", "Degrees to radians."},
	{"rand", "math", nameFirst, "", "", "(number integer{0,1}) real", "Random number in [0, 1), or a random whole number below n."},
	{"round", "math", nameFirst, "", "", "(number number, precision long!{0,1}) $0", "Rounds to a number of decimals."},
	{"sign", "math", nameNone, "", "", "(number number) real", "Sign: -1, 0 or 1."},
	{"sin", "math", nameFirst, "", "", "(number number) real", "Sine."},
	{"sqrt", "math", nameFirst, "", "", "(number number) real", "Square root, null for a negative number."},
	{"tan", "math", nameFirst, "", "", "(number number) real", "Tangent."},
	{"welch_test", "math", nameNone, "", "", "(mean1 number, variance1 number, count1 number, mean2 number, variance2 number, count2 number) real", "p-value of the Welch test."},
	{"convert_angle", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of angle."},
	{"convert_energy", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of energy."},
	{"convert_force", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of force."},
	{"convert_length", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of length."},
	{"convert_mass", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of mass."},
	{"convert_speed", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of speed."},
	{"convert_temperature", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of temperature."},
	{"convert_volume", "math", nameNone, "", "", "(value real, from string, to string) real", "Converts between units of volume."},
	{"new_guid", "math", nameNone, "", "", "() guid", "A random guid."},

	// series
	{"series_abs", "series", nameNone, "", "", "(series array) $0", "Absolute value of each element."},
	{"series_acos", "series", nameNone, "", "", "(series array) dynamic", "Arc cosine of each element."},
	{"series_asin", "series", nameNone, "", "", "(series array) dynamic", "Arc sine of each element."},
	{"series_atan", "series", nameNone, "", "", "(series array) dynamic", "Arc tangent of each element."},
	{"series_ceiling", "series", nameNone, "", "", "(series array) $0", "Rounds each element up."},
	{"series_cos", "series", nameNone, "", "", "(series array) dynamic", "Cosine of each element."},
	{"series_exp", "series", nameNone, "", "", "(series array) dynamic", "e to the power of each element."},
	{"series_floor", "series", nameNone, "", "", "(series array) dynamic", "Rounds each element down."},
	{"series_log", "series", nameNone, "", "", "(series array) dynamic", "Natural logarithm of each element."},
	{"series_sign", "series", nameNone, "", "", "(series array) dynamic", "Sign of each element."},
	{"series_sin", "series", nameNone, "", "", "(series array) dynamic", "Sine of each element."},
	{"series_tan", "series", nameNone, "", "", "(series array) dynamic", "Tangent of each element."},
	{"series_add", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Adds two series."},
	{"series_subtract", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Subtracts two series."},
	{"series_multiply", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Multiplies two series."},
	{"series_divide", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Divides two series."},
	{"series_pow", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Raises one series to the power of another."},
	{"series_greater", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Compares two series element by element."},
	{"series_greater_equals", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Compares two series element by element."},
	{"series_less", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Compares two series element by element."},
	{"series_less_equals", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Compares two series element by element."},
	{"series_equals", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Compares two series element by element."},
	{"series_not_equals", "series", nameNone, "", "", "(series1 array, series2 array) dynamic ; (series1 array, series2 number) dynamic ; (series1 number, series2 array) dynamic", "Compares two series element by element."},
	{"series_sum", "series", nameNone, "", "", "(series array) real", "Sum of the elements."},
	{"series_product", "series", nameNone, "", "", "(series array) real", "Product of the elements."},
	{"series_magnitude", "series", nameNone, "", "", "(series array) real", "Square root of the dot product of a series with itself."},
	{"series_dot_product", "series", nameNone, "", "", "(series1 array, series2 array) real ; (series1 array, series2 number) real ; (series1 number, series2 array) real", "Sum of the products of two series."},
	{"series_cosine_similarity", "series", nameNone, "", "", "(series1 array, series2 array, series1_magnitude real{0,1}, series2_magnitude real{0,1}) real", "Cosine similarity of two series."},
	{"series_pearson_correlation", "series", nameNone, "", "", "(series1 array, series2 array) real", "Pearson correlation of two series."},
	{"series_stats", "series", nameNone, "", "", "(series array, ignore_nonfinite bool!{0,1}) custom", "Minimum, maximum, their places, average, deviation and variance, as columns."},
	{"series_stats_dynamic", "series", nameNone, "", "", "(series array, ignore_nonfinite bool!{0,1}) custom", "Minimum, maximum, their places, average, deviation, variance, sum and length, as a bag."},
	{"series_fill_backward", "series", nameFirst, "", "", "(series array, missing_value_placeholder number{0,1}) $0", "Fills missing elements with the next one."},
	{"series_fill_forward", "series", nameFirst, "", "", "(series array, missing_value_placeholder number{0,1}) $0", "Fills missing elements with the one before."},
	{"series_fill_const", "series", nameFirst, "", "", "(series array, constant_value number{0,1}, missing_value_placeholder number{0,1}) $0", "Fills missing elements with a constant."},
	{"series_fill_linear", "series", nameFirst, "", "", "(series array, missing_value_placeholder number{0,1}, fill_edges bool{0,1}, constant_value number{0,1}) $0", "Fills missing elements by linear interpolation."},
	{"series_fir", "series", nameFirst, "", "", "(series array, filter array, normalize bool{0,1}, center bool{0,1}) dynamic", "Finite impulse response filter."},
	{"series_iir", "series", nameFirst, "", "", "(series array, numerators array, denominators array) dynamic", "Infinite impulse response filter."},
	{"series_fit_line", "series", nameNone, "", "", "(series array) custom", "Linear regression, as columns."},
	{"series_fit_line_dynamic", "series", nameNone, "", "", "(series array) custom", "Linear regression, as a bag."},
	{"series_fit_2lines", "series", nameNone, "", "", "(array array) custom", "Regression by two segments, as columns."},
	{"series_fit_2lines_dynamic", "series", nameNone, "", "", "(series array) custom", "Regression by two segments, as a bag."},
	{"series_fit_poly", "series", nameNone, "", "", "(y_series array, x_series array{0,1}, degree int{0,1}) custom", "Polynomial regression."},
	{"series_fft", "series", nameNone, "", "", "(series array, series_imaginary array{0,1}) custom", "Fast Fourier transform."},
	{"series_ifft", "series", nameNone, "", "", "(series array, series_imaginary array{0,1}) custom", "Inverse fast Fourier transform."},
	{"series_outliers", "series", nameFirst, "", "", "(series array, kind string{0,1}, ignore_val number{0,1}) $0 ; (series array, kind string, ignore_val real, min_percentile real, max_percentile real{0,1}, test_points integer{0,1}) $0", "Anomaly scores by Tukey's fences."},
	{"series_periods_detect", "series", nameNone, "", "", "(series array, min_period number, max_period number, num_periods long) custom", "Most significant periods of a series."},
	{"series_periods_validate", "series", nameNone, "", "", "(series array, period number{1,16}) custom", "Scores of given periods."},
	{"series_seasonal", "series", nameNone, "", "", "(series array) dynamic ; (series array, period integer) dynamic ; (series array, period integer, test_points integer) dynamic", "Seasonal component of a series."},
	{"series_decompose", "series", nameNone, "", "", "(series array, period integer{0,1}, trend string{0,1}, test_points integer{0,1}, seasonality_threshold number{0,1}) custom", "Seasonal, trend and residual components of a series."},
	{"series_decompose_anomalies", "series", nameNone, "", "", "(series array, threshold number{0,1}, period integer{0,1}, trend string{0,1}, test_points integer{0,1}, method string{0,1}, seasonality_threshold number{0,1}) custom", "Anomalies by decomposition."},
	{"series_decompose_forecast", "series", nameNone, "", "", "(series array, test_points integer, period integer{0,1}, trend string{0,1}, seasonality_threshold number{0,1}) custom", "Forecast by decomposition."},

	// window
	{"row_number", "window", nameNone, "", "", "(startingIndex long{0,1}, restart bool{0,1}) long", "Number of the row in its serialized row set."},
	{"row_cumsum", "window", nameNone, "", "", "(term number, restart bool{0,1}) $0", "Running sum over the serialized row set."},
	{"row_rank", "window", nameNone, "", "row_rank_dense", "(column notdynamic, dense bool!{0,1}) long", "Rank of the row's value in a sorted row set."},
	{"row_rank_dense", "window", nameNone, "", "", "(term notdynamic, restart bool{0,1}) long", "Rank of the row's value in a sorted row set, without gaps."},
	{"row_rank_min", "window", nameNone, "", "", "(term notdynamic, restart bool{0,1}) long", "Rank of the row's value in a sorted row set, with gaps."},
	{"row_window_session", "window", nameNone, "", "", "(expr datetime, maxDistanceFromFirst timespan, maxDistanceBetweenNeighbors timespan, restart bool{0,1}) $0", "Start of the session a row belongs to."},
	{"prev", "window", nameNone, "", "", "(column scalar@, offset long{0,1}, default_value scalar!{0,1}) $0", "Value of a row before."},
	{"next", "window", nameNone, "", "", "(column scalar@, offset long{0,1}, default_value scalar!{0,1}) $0", "Value of a row after."},

	// geo
	{"geo_distance_2points", "geo", nameNone, "", "", "(p1_longitude number, p1_latitude number, p2_longitude number, p2_latitude number, use_spheroid numberbool{0,1}) real", "Shortest distance between two points, metres."},
	{"geo_point_in_circle", "geo", nameNone, "", "", "(p_longitude number, p_latitude number, pc_longitude number, pc_latitude number, c_radius number) bool", "True when a point lies within a radius of another."},
	{"geo_point_in_polygon", "geo", nameNone, "", "", "(longitude number, latitude number, polygon bag) bool", "True when a point lies in a polygon."},
	{"geo_point_to_geohash", "geo", nameNone, "", "", "(longitude number, latitude number, accuracy number{0,1}) string", "Geohash of a point."},
	{"geo_geohash_to_central_point", "geo", nameNone, "", "", "(geohash string) dynamic", "Centre of a geohash cell."},
	{"geo_geohash_to_polygon", "geo", nameNone, "", "", "(geohash string) dynamic", "Outline of a geohash cell."},
	{"geo_point_to_s2cell", "geo", nameNone, "", "", "(longitude real, latitude real, level integer{0,1}) string", "S2 cell around a point."},
	{"geo_s2cell_to_central_point", "geo", nameNone, "", "", "(s2cell string) dynamic", "Centre of an S2 cell."},
	{"geo_s2cell_to_polygon", "geo", nameNone, "", "", "(s2cell string) dynamic", "Outline of an S2 cell."},
	{"geo_s2cell_neighbors", "geo", nameNone, "", "", "(s2cell string) dynamic", "S2 cells around a cell."},
	{"geo_h3cell_to_polygon", "geo", nameNone, "", "", "(h3cell string) dynamic", "Outline of an H3 cell."},
	{"geo_geohash_neighbors", "geo", nameNone, "", "", "(geohash string) dynamic", "Geohash cells around a cell."},
	{"geo_point_to_h3cell", "geo", nameNone, "", "", "(longitude number, latitude number, resolution number{0,1}) string", "H3 cell of a point."},
	{"geo_h3cell_to_central_point", "geo", nameNone, "", "", "(h3cell string) dynamic", "Centre of an H3 cell."},
	{"geo_h3cell_parent", "geo", nameNone, "", "", "(h3cell string, resolution number{0,1}) string", "Parent of an H3 cell."},
	{"geo_h3cell_children", "geo", nameNone, "", "", "(h3cell string, resolution number{0,1}) dynamic", "Children of an H3 cell."},
	{"geo_h3cell_level", "geo", nameNone, "", "", "(h3cell string) int", "Resolution of an H3 cell."},
	{"geo_h3cell_neighbors", "geo", nameNone, "", "", "(h3cell string) dynamic", "Neighbours of an H3 cell."},
	{"geo_h3cell_rings", "geo", nameNone, "", "", "(h3cell string, distance number) dynamic", "Rings of H3 cells around a cell."},
	{"geo_azimuth", "geo", nameNone, "", "", "(p1_longitude number, p1_latitude number, p2_longitude number, p2_latitude number) real", "Clockwise angle from north to the line between two points, radians."},
	{"geo_line_length", "geo", nameNone, "", "", "(lineString bag) real", "Length of a line, metres."},

	// service
	{"current_cluster_endpoint", "service", nameNone, "", "", "() string", "Where the query runs."},
	{"ingestion_time", "service", namePrefix, "$IngestionTime", "", "() datetime", "When the store took the row; on events that nothing has reshaped yet."},
	{"current_database", "service", nameNone, "", "", "() string", "Name of the database."},
	{"estimate_data_size", "service", nameNone, "", "", "(column scalar@{1,}) long ; (column scalar**) long", "Estimated size of columns in bytes."},

	// aggregate
	{"sum", "aggregate", namePrefixFirst, "sum", "", "(expr summable) promoted", "Sum."},
	{"sumif", "aggregate", namePrefixFirst, "sumif", "", "(expr summable, predicate bool) promoted", "Sum where a condition holds."},
	{"cnt", "aggregate", namePrefixFirst, "cnt", "count", "() long", "Number of rows."},
	{"count", "aggregate", namePrefixFirst, "count", "", "() long ; (predicate bool) long", "Number of rows, or of those where a condition holds."},
	{"countif", "aggregate", namePrefixFirst, "countif", "", "(predicate bool) long", "Number of rows where a condition holds."},
	{"dcount", "aggregate", namePrefixFirst, "dcount", "", "(expr scalar, accuracy notdynamic{0,1}) long", "Estimated number of distinct values."},
	{"dcountif", "aggregate", namePrefixFirst, "dcountif", "", "(expr scalar, predicate bool, accuracy notdynamic{0,1}) long", "Estimated number of distinct values where a condition holds."},
	{"count_distinct", "aggregate", namePrefixFirst, "count_distinct", "", "(expr notdynamic) long", "Exact number of distinct values."},
	{"count_distinctif", "aggregate", namePrefixFirst, "count_distinctif", "", "(expr notdynamic, predicate bool) long", "Exact number of distinct values where a condition holds."},
	{"min", "aggregate", namePrefixFirst, "min", "", "(expr orderable) $0", "Smallest value."},
	{"minif", "aggregate", namePrefixFirst, "minif", "", "(expr orderable, predicate bool) $0", "Smallest value where a condition holds."},
	{"max", "aggregate", namePrefixFirst, "max", "", "(expr orderable) $0", "Largest value."},
	{"maxif", "aggregate", namePrefixFirst, "maxif", "", "(expr orderable, predicate bool) $0", "Largest value where a condition holds."},
	{"avg", "aggregate", namePrefixFirst, "avg", "", "(expr integer) real ; (expr real) real ; (expr decimal) decimal ; (expr timespan) timespan ; (expr datetime) datetime", "Average."},
	{"avgif", "aggregate", namePrefixFirst, "avgif", "", "(expr integer, predicate bool) real ; (expr real, predicate bool) real ; (expr decimal, predicate bool) decimal ; (expr timespan, predicate bool) timespan ; (expr datetime, predicate bool) datetime", "Average where a condition holds."},
	{"makelist", "aggregate", namePrefixFirst, "list", "make_list", "(expr scalar, maxSize integer{0,1}) dynamic", "Array of all values."},
	{"make_list", "aggregate", namePrefixFirst, "list", "", "(expr scalar, maxSize integer{0,1}) dynamic", "Array of all values."},
	{"make_list_if", "aggregate", namePrefixFirst, "list", "", "(expr scalar, predicate bool, maxSize integer{0,1}) dynamic", "Array of the values where a condition holds."},
	{"make_list_with_nulls", "aggregate", namePrefixFirst, "list", "", "(expr scalar) dynamic", "Array of all values, nulls included."},
	{"makeset", "aggregate", namePrefixFirst, "set", "make_set", "(expr scalar, maxSize integer{0,1}) dynamic", "Array of the distinct values."},
	{"make_set", "aggregate", namePrefixFirst, "set", "", "(expr scalar, maxSize integer{0,1}) dynamic", "Array of the distinct values."},
	{"make_set_if", "aggregate", namePrefixFirst, "set", "", "(expr scalar, predicate bool, maxSize integer{0,1}) dynamic", "Array of the distinct values where a condition holds."},
	{"make_dictionary", "aggregate", namePrefixFirst, "dictionary", "", "(expr bag, maxSize integer{0,1}) dynamic", "Bag of all values' keys."},
	{"make_bag", "aggregate", namePrefixFirst, "bag", "", "(expr bag, maxSize integer{0,1}) dynamic", "Bag of all values' keys."},
	{"make_bag_if", "aggregate", namePrefixFirst, "bag", "", "(expr bag, predicate bool, maxSize integer{0,1}) dynamic", "Bag of the keys of the values where a condition holds."},
	{"buildschema", "aggregate", namePrefixFirst, "schema", "", "(expr bag) dynamic", "The schema that all values fit."},
	{"hll", "aggregate", namePrefixFirst, "hll", "", "(expr notrealbool, accuracy integer{0,1}) dynamic", "State of the estimate of distinct values."},
	{"hll_if", "aggregate", namePrefixFirst, "hll_if", "", "(expr notrealbool, predicate bool, accuracy integer{0,1}) dynamic", "State of the estimate of distinct values where a condition holds."},
	{"hll_merge", "aggregate", namePrefixFirst, "hll_merge", "", "(hll array) dynamic", "One hll state of all."},
	{"tdigest", "aggregate", namePrefixFirst, "tdigest", "", "(expr summable, weight integer{0,1}) dynamic", "Digest of the values, for percentiles."},
	{"tdigest_merge", "aggregate", namePrefixFirst, "merge_tdigests", "", "(tdigest array) dynamic", "One digest of all."},
	{"merge_tdigest", "aggregate", namePrefixFirst, "merge_tdigests", "tdigest_merge", "(tdigest array) dynamic", "One digest of all."},
	{"percentile", "aggregate", nameNone, "", "", "(expr scalar, percentile number) custom", "Nearest-rank percentile."},
	{"percentiles", "aggregate", nameNone, "", "", "(expr scalar, percentile number{1,}) custom", "Nearest-rank percentiles, one column each."},
	{"percentiles_array", "aggregate", nameNone, "", "", "(expr scalar, percentile number{1,}) custom ; (expr scalar, percentiles array) custom", "Nearest-rank percentiles as an array."},
	{"percentilew", "aggregate", nameNone, "", "", "(expr scalar, weight integer, percentile number) custom", "Weighted percentile."},
	{"percentilesw", "aggregate", nameNone, "", "", "(expr scalar, weight integer, percentile number{1,}) custom", "Weighted percentiles, one column each."},
	{"percentilesw_array", "aggregate", nameNone, "", "", "(expr scalar, weight integer, percentile number{1,}) custom ; (expr scalar, weight integer, percentiles array) custom", "Weighted percentiles as an array."},
	{"stdev", "aggregate", namePrefixFirst, "stdev", "", "(expr summable) real", "Standard deviation of a sample."},
	{"stdevif", "aggregate", namePrefixFirst, "stdevif", "", "(expr summable, predicate bool) real", "Standard deviation of a sample where a condition holds."},
	{"stdevp", "aggregate", namePrefixFirst, "stdevp", "", "(expr summable) real", "Standard deviation of a population."},
	{"variance", "aggregate", namePrefixFirst, "variance", "", "(expr summable) real", "Variance of a sample."},
	{"varianceif", "aggregate", namePrefixFirst, "varianceif", "", "(expr summable, predicate bool) real", "Variance of a sample where a condition holds."},
	{"variancep", "aggregate", namePrefixFirst, "variancep", "", "(expr summable) real", "Variance of a population."},
	{"variancepif", "aggregate", namePrefixFirst, "variancepif", "", "(expr summable, predicate bool) real", "Variance of a population where a condition holds."},
	{"covariance", "aggregate", namePrefixFirst, "covariance", "", "(expr summable, expr summable) real", "Covariance of a sample."},
	{"covarianceif", "aggregate", namePrefixFirst, "covarianceif", "", "(expr summable, expr summable, predicate bool) real", "Covariance of a sample where a condition holds."},
	{"covariancep", "aggregate", namePrefixFirst, "covariancep", "", "(expr summable, expr summable) real", "Covariance of a population."},
	{"covariancepif", "aggregate", namePrefixFirst, "covariancepif", "", "(expr summable, expr summable, predicate bool) real", "Covariance of a population where a condition holds."},
	{"any", "aggregate", namePrefixFirst, "any", "take_any", "(expr scalar) $0 ; (expr scalar{2,}) custom ; (expr scalar**) custom", "Any value."},
	{"take_any", "aggregate", nameNone, "", "", "(expr scalar*{1,}) custom", "Any value, of one row for several columns."},
	{"anyif", "aggregate", namePrefixFirst, "anyif", "take_anyif", "(expr scalar, predicate bool) $0", "Any value where a condition holds."},
	{"take_anyif", "aggregate", nameFirst, "", "", "(expr scalar, predicate bool) $0", "Any value where a condition holds."},
	{"arg_min", "aggregate", nameNone, "", "", "(minimized orderable, returned scalar*{0,}) custom", "Values of the row where an expression is smallest."},
	{"arg_max", "aggregate", nameNone, "", "", "(maximized orderable, returned scalar*{0,}) custom", "Values of the row where an expression is largest."},
	{"argmin", "aggregate", nameNone, "min", "arg_min", "(minimized orderable, returned scalar*{0,}) custom", "Values of the row where an expression is smallest."},
	{"argmax", "aggregate", nameNone, "max", "arg_max", "(maximized orderable, returned scalar*{0,}) custom", "Values of the row where an expression is largest."},
	{"binary_all_or", "aggregate", nameFirst, "", "", "(expr summable) $0", "Bitwise or of all values."},
	{"binary_all_and", "aggregate", nameFirst, "", "", "(expr summable) $0", "Bitwise and of all values."},
	{"binary_all_xor", "aggregate", nameFirst, "", "", "(expr summable) $0", "Bitwise exclusive or of all values."},
}
