package wire

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is a failure in the shape AWS answers with: a code that SDKs turn into
// a typed exception, a message for people, and the HTTP status.
type Error struct {
	Code    string
	Message string
	Status  int
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf is a client error (HTTP 400), which nearly all of AWS's are.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// AsStatus is the error with another HTTP status than 400, as the older services
// answer: 404 for what is not there, 409 for what is there already.
func (e *Error) WithStatus(status int) *Error {
	e.Status = status
	return e
}

// asError makes any error an AWS one: what is not known is a failure of the
// service itself, which SDKs retry.
func toError(err error) *Error {
	var awsError *Error
	if errors.As(err, &awsError) {
		return awsError
	}
	return &Error{Code: "InternalFailure", Message: err.Error(), Status: http.StatusInternalServerError}
}
