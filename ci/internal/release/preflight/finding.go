package preflight

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"dagger/slipway/internal/report/outcome"
)

// finding is a line about what does not hold, over the error that told it.
type finding struct {
	text  string
	cause error
}

func (f *finding) Error() string { return f.text }
func (f *finding) Unwrap() error { return f.cause }

// fail makes the finding of something missing, exit code 1.
func fail(cause error, format string, args ...any) error {
	return outcome.With(outcome.Failed, &finding{outcome.OneLine(fmt.Sprintf(format, args...)), cause})
}

// usage makes the finding of wrong configuration, exit code 2.
func usage(format string, args ...any) error {
	return outcome.With(outcome.Usage, &finding{text: outcome.OneLine(fmt.Sprintf(format, args...))})
}

// refuse makes the finding of a guard, exit code 5.
func refuse(format string, args ...any) error {
	return outcome.With(outcome.Refused, &finding{text: outcome.OneLine(fmt.Sprintf(format, args...))})
}

// apiMessage is the innermost part of an SDK's error that says what happened.
func apiMessage(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode() + ": " + answer.ErrorMessage()
	}
	return err.Error()
}

// serviceList names who needs a thing: "service backend", "services backend, frontend";
// "" for nobody.
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

// usedBy collects who needs what, so that a thing is asked for once.
type usedBy[T comparable] map[T][]string

func (u usedBy[T]) add(thing T, service string) { u[thing] = append(u[thing], service) }
