package preflight

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// finding is a one-line error with its cause.
type finding struct {
	text  string
	cause error
}

func (f *finding) Error() string { return f.text }
func (f *finding) Unwrap() error { return f.cause }

// fail returns the finding for something missing, exit code 1.
func fail(cause error, format string, args ...any) error {
	return outcome.With(outcome.Failed, &finding{outcome.OneLine(fmt.Sprintf(format, args...)), cause})
}

// usage returns the finding for wrong configuration, exit code 2.
func usage(format string, args ...any) error {
	return outcome.With(outcome.Usage, &finding{text: outcome.OneLine(fmt.Sprintf(format, args...))})
}

// refuse returns the finding of a guard, exit code 5.
func refuse(format string, args ...any) error {
	return outcome.With(outcome.Refused, &finding{text: outcome.OneLine(fmt.Sprintf(format, args...))})
}

// apiMessage returns the code and message of an AWS API error, or the error's text.
func apiMessage(err error) string {
	if apiError, ok := errors.AsType[smithy.APIError](err); ok {
		return apiError.ErrorCode() + ": " + apiError.ErrorMessage()
	}
	return err.Error()
}

// serviceList formats names as "service backend" or "services backend, frontend"; ""
// if there are none.
func serviceList(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "service " + names[0]
	}
	return "services " + strings.Join(names, ", ")
}

// usedBy maps resources to the services that use them, so that each is checked once.
type usedBy[T comparable] map[T][]string

func (u usedBy[T]) add(resource T, service string) { u[resource] = append(u[resource], service) }
