package query_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubscope/query"
	"hubscope/query/kql"
)

func TestExternalData(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret.txt")
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write(secret, "secret")
	csv := write(filepath.Join(dir, "a.csv"), "id,name,seen\n1,\"a, b\",2026-01-02\n,x,never\n")
	list := write(filepath.Join(dir, "list.txt"), "10.0.0.1\r\n10.0.0.2\n")
	objects := write(filepath.Join(dir, "o.json"), `{"id":"7","bag":{"k":[1]}}`+"\n"+`{"id":8}`)
	if err := os.Symlink(secret, filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.txt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero.txt")); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/lists/a.txt":
			w.Write([]byte("one\ntwo\n"))
		case "/lists/away.txt":
			http.Redirect(w, r, "/secret.txt", http.StatusFound)
		default:
			w.Write([]byte("secret"))
		}
	}))
	defer server.Close()
	e := newEngine(t, query.Config{External: query.External{Folders: []string{dir}, URLs: []string{server.URL + "/lists/"}}.Reader()})

	for _, c := range []struct {
		text string
		want []string
	}{
		{`externaldata(id:long, name:string, seen:datetime)["` + csv + `"] with (format="csv", ignoreFirstRecord=true)`,
			[]string{`[1,"a, b","2026-01-02T00:00:00.0000000Z"]`, `[null,"x",null]`}},
		{`externaldata(ip:string)[@"file://` + list + `"] with (format=txt) | where ip endswith ".2"`, []string{`["10.0.0.2"]`}},
		{`externaldata(id:long, bag:dynamic)["` + objects + `"] with (format="multijson") | project id, bag.k[0]`, []string{`[7,1]`, `[8,null]`}},
		{`externaldata(s:string)["` + server.URL + `/lists/a.txt;key"]`, []string{`["one"]`, `["two"]`}},
		{`let ips = externaldata(ip:string)["` + list + `"]; print x = "10.0.0.1" in (ips)`, []string{`[true]`}},
	} {
		got, err := run(t.Context(), e, query.Request{Text: c.text, Now: noon})
		if err != nil {
			t.Errorf("%s\n%s", c.text, cause(err))
			continue
		}
		if diff := cmp.Diff(c.want, lines(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}

	for _, place := range []string{
		secret, dir + "/../" + filepath.Base(filepath.Dir(secret)) + "/secret.txt", filepath.Join(dir, "link.txt"), filepath.Join(dir, "pipe.txt"), filepath.Join(dir, "zero.txt"), dir, "/etc/passwd", "a.csv", "file://host" + csv,
		server.URL + "/secret.txt", server.URL + "/lists/../secret.txt", server.URL + "/lists/%2e%2e/secret.txt", server.URL + "/listsx/a.txt",
		server.URL + "/lists/away.txt", strings.Replace(server.URL, "http://", "http://u:p@", 1) + "/lists/a.txt", "ftp://x/a.txt", "https://example.invalid/a.txt", "",
	} {
		_, err := run(t.Context(), e, query.Request{Text: `externaldata(s:string)["` + place + `"] with (format="txt")`})
		var errs kql.Errors
		if !errors.As(err, &errs) || !strings.Contains(errs[0].Message, "cannot be read") {
			t.Errorf("%s is read: %v", place, err)
		}
	}

	for _, x := range []query.External{
		{Folders: []string{"lists"}}, {Folders: []string{"/"}}, {URLs: []string{"example.com/lists"}}, {URLs: []string{"ftp://example.com/"}},
		{URLs: []string{"https:///lists"}}, {URLs: []string{"https://u:p@example.com/"}}, {URLs: []string{"https://example.com/?a=b"}},
	} {
		if x.Validate() == nil {
			t.Errorf("%v is allowed", x)
		}
	}
	if err := (query.External{Folders: []string{dir}, URLs: []string{server.URL + "/lists/"}}).Validate(); err != nil {
		t.Error(err)
	}

	off := newEngine(t, query.Config{})
	if _, err := run(t.Context(), off, query.Request{Text: `externaldata(s:string)["` + list + `"]`}); err == nil {
		t.Error("externaldata is not switched off")
	}
}
