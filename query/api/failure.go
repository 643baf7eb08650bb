package api

import (
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"hubscope/query/client"
	"hubscope/query/kql"
)

// statusError is an error with the HTTP status that it is answered with.
type statusError struct {
	status int
	body   client.ErrorResponse
	retry  time.Duration // tells the client when to try again, if not zero
	cause  error         // for the log
}

func (e *statusError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s (%v)", e.body.Error.Error(), e.cause)
	}
	return e.body.Error.Error()
}

func (e *statusError) Unwrap() error { return e.cause }

// failure returns an error that a client sees as it is given.
func failure(status int, code, format string, args ...any) error {
	return &statusError{status: status, body: client.ErrorResponse{Error: &client.Error{Code: code, Message: fmt.Sprintf(format, args...)}}}
}

func badRequest(format string, args ...any) error {
	return failure(400, client.CodeBadRequest, format, args...)
}

// unavailable is the error of what cannot be done now, and may be done after
// some time.
func unavailable(after time.Duration, code string, cause error, format string, args ...any) error {
	return &statusError{status: http.StatusServiceUnavailable, retry: after, cause: cause, body: client.ErrorResponse{Error: &client.Error{
		Code: code, Message: fmt.Sprintf(format, args...)}}}
}

// fromKQL turns the errors of a text into their wire form.
func fromKQL(text string, errs kql.Errors) client.Errors {
	list := make(client.Errors, len(errs))
	for i, e := range errs {
		line, column := kql.Position(text, e.Start)
		start, end := min(e.Start, len(text)), min(e.End, len(text))
		list[i] = &client.Error{
			Code: e.Code, Message: e.Message, Hint: e.Hint,
			Line: line, Column: column, Length: max(utf8.RuneCountInString(text[start:end]), 1),
		}
	}
	return list
}
