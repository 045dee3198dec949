// Package outcome is the contract between the pipeline and whoever started
// it: what each exit code means, and errors that carry one.
package outcome

import (
	"context"
	"errors"
	"fmt"
)

// Code is the exit code of a stage, the same everywhere.
type Code int

// The exit codes.
const (
	Done        Code = 0   // done, or nothing to do
	Failed      Code = 1   // failed, production untouched
	Usage       Code = 2   // wrong usage or configuration
	Restored    Code = 3   // the release failed and the previous version is restored
	Unrestored  Code = 4   // the release failed and could not be restored: a human is needed
	Refused     Code = 5   // refused by a guard
	Interrupted Code = 130 // interrupted, after restoring
)

// codedError is an error that decides the exit code.
type codedError struct {
	code Code
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// Usagef makes an error of wrong usage or configuration, exit code 2. It names
// the input and the mend.
func Usagef(format string, args ...any) error {
	return With(Usage, fmt.Errorf(format, args...))
}

// Refusedf makes the error of a guard that refused, exit code 5.
func Refusedf(format string, args ...any) error {
	return With(Refused, fmt.Errorf(format, args...))
}

// With gives err an exit code; a nil err stays nil.
func With(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

// Of is the exit code that err stands for: its own, where it carries one,
// Interrupted for a cancelled context, Failed for any other error and Done for
// none. Of several joined errors the first that carries a code decides.
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

// interruptionError is the cause of a context that somebody cancelled.
type interruptionError string

func (i interruptionError) Error() string        { return string(i) }
func (i interruptionError) Is(target error) bool { return target == context.Canceled }

// Interruption makes the cause of a cancelled context, exit code 130: who or
// what interrupted.
func Interruption(reason string) error { return interruptionError(reason) }
