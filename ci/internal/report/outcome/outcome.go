// Package outcome defines the exit codes of the pipeline and errors that have one.
package outcome

import (
	"context"
	"errors"
	"fmt"
)

// Code is an exit code.
type Code int

// The exit codes.
const (
	Done        Code = 0   // done, or nothing to do
	Failed      Code = 1   // failed, production untouched
	Usage       Code = 2   // wrong usage or configuration
	Restored    Code = 3   // the release failed and the previous version is restored
	Unrestored  Code = 4   // the release failed and could not be restored: run the command in the report
	Refused     Code = 5   // refused by a guard
	Interrupted Code = 130 // interrupted, after restoring
)

// codedError is an error with an exit code.
type codedError struct {
	code Code
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// Usagef returns an error for wrong usage or configuration, exit code 2. Its message
// has the input and what to use instead.
func Usagef(format string, args ...any) error {
	return With(Usage, fmt.Errorf(format, args...))
}

// Refusedf returns the error of a guard, exit code 5.
func Refusedf(format string, args ...any) error {
	return With(Refused, fmt.Errorf(format, args...))
}

// With returns err with an exit code, nil for a nil err.
func With(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

// Of returns the exit code of err: its own if it has one, Interrupted for a cancelled
// context, Failed for other errors, and Done for nil. Of joined errors, the first one
// with a code counts.
func Of(err error) Code {
	var c *codedError
	switch {
	case err == nil:
		return Done
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, context.Canceled):
		return Interrupted
	default:
		return Failed
	}
}

// interruptionError is the cause of an interrupted context.
type interruptionError string

func (i interruptionError) Error() string        { return string(i) }
func (i interruptionError) Is(target error) bool { return target == context.Canceled }

// Interruption returns the cause to cancel a context with, exit code 130. The reason
// says what interrupted.
func Interruption(reason string) error { return interruptionError(reason) }
