package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"

	"hubscope/query/client"
)

// readBody returns a request's body, of at most limit bytes, also when they are
// packed. All of it is read before the query runs: the server notices that a
// client has gone only when it has nothing more to read from it.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	var in io.Reader = r.Body
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, bodyError(err)
		}
		defer z.Close()
		in = z
	default:
		return nil, failure(http.StatusUnsupportedMediaType, client.CodeUnsupported, "the body may be packed as gzip, not as %q", encoding)
	}
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if int64(len(b)) > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	// To the end, for the sake of the server.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, bodyError(err)
	}
	return b, nil
}

// readJSON reads the body, one JSON object without unknown fields.
func (s *Server) readJSON(r *http.Request, v any) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		// curl -d sends a form's type. A form of a web page does so too, but is
		// stopped by the check of its origin.
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" && media != "text/json" && media != "application/x-www-form-urlencoded" {
			return failure(http.StatusUnsupportedMediaType, client.CodeUnsupported, "the body must be application/json")
		}
	}
	return s.decode(r, v, true)
}

// decode reads the body, one JSON value. Clients of other services send fields
// that have no meaning here: those are let pass unless strict.
func (s *Server) decode(r *http.Request, v any, strict bool) error {
	b, err := readBody(r, s.config.MaxBodyBytes)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return bodyError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the body has more than one JSON value")
	}
	return nil
}

// bodyError says what is wrong with a JSON body, in words of its sender.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return badRequest("the body is not gzip, as its header says")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("the body ends early")
	case errors.Is(err, io.EOF):
		return badRequest("the body is empty; a JSON object was expected")
	case errors.As(err, &syntax):
		return badRequest("the body is not JSON: %v at byte %d", syntax, syntax.Offset)
	case errors.As(err, &kind) && kind.Field == "":
		return badRequest("the body is a JSON %s; an object was expected", kind.Value)
	case errors.As(err, &kind):
		return badRequest("%q in the body cannot be a %s", kind.Field, kind.Value)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return badRequest("the body has an unknown field %s", strings.TrimPrefix(err.Error(), "json: unknown field "))
	default:
		return badRequest("the body could not be read")
	}
}
