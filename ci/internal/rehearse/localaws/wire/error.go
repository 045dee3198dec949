package wire

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is an error response of AWS: a code that SDKs turn into a typed exception, a
// message, and the HTTP status.
type Error struct {
	Code    string
	Message string
	Status  int
	Members map[string]any // other members of the exception, such as resourceIds
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf returns a client error (HTTP 400), as nearly all of AWS's are.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// WithStatus sets another HTTP status than 400. The older services use 404 for a
// missing resource and 409 for an existing one.
func (e *Error) WithStatus(status int) *Error {
	e.Status = status
	return e
}

// toError returns err as an error of AWS. An unknown one becomes an internal failure
// of the service, which SDKs retry.
func toError(err error) *Error {
	if awsError, ok := errors.AsType[*Error](err); ok {
		return awsError
	}
	return &Error{Code: "InternalFailure", Message: err.Error(), Status: http.StatusInternalServerError}
}
