package chsql

import (
	"testing"

	"hubscope/query/plan"
)

// Every function that binding can make a call of has SQL, and no other does.
func TestFunctionsHaveSQL(t *testing.T) {
	known := map[string]bool{}
	for _, f := range append(plan.Functions(), plan.Internal()...) {
		if f.Aggregate {
			continue
		}
		known[f.Base] = true
		if functions[f.Base] == nil && multiFunctions[f.Base] == nil && !bound[f.Base] {
			t.Errorf("%s has no SQL", f.Base)
		}
	}
	for name := range functions {
		if !known[name] {
			t.Errorf("SQL for %s, which is not in the function table", name)
		}
	}
}

// bound are the functions that package plan replaces by something else.
var bound = map[string]bool{
	"bag_pack_columns": true, "bin_auto": true, "column_ifexists": true, "columnifexists": true, "column_names_of": true, "iscolumnexists": true, "ingestion_time": true,
	"zlib_compress_to_base64_string": true, "zlib_decompress_from_base64_string": true, "gzip_compress_to_base64_string": true, "gzip_decompress_from_base64_string": true,
}
