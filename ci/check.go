package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"go.opentelemetry.io/otel/codes"
)

// Checked is what came of everything that a change must pass.
type Checked struct {
	// Markdown is the result for a job summary.
	Markdown string
	// Report is the result for a terminal.
	Report string
}

// Check does everything that a change must pass: lint, test, validate, build.
//
// The checks run side by side, a span each; what fails is told as soon as it is known, and hides
// nothing of the others. No check needs credentials.
func (m *Slipway) Check(ctx context.Context) (*Checked, error) {
	checks := []struct {
		name string
		run  func(context.Context) error
	}{
		{"lint", m.CheckLint}, {"test", m.CheckTest}, {"validate", m.CheckValidate}, {"build", m.CheckBuild},
	}
	failures := make([]error, len(checks))
	var group errgroup.Group
	for n, check := range checks {
		group.Go(func() error {
			failures[n] = span(ctx, check.name, check.run)
			return nil
		})
	}
	_ = group.Wait() // failures has the errors, all of them
	var text, markdown strings.Builder
	markdown.WriteString("| check | result |\n|---|---|\n")
	for n, check := range checks {
		result := "passed"
		if failures[n] != nil {
			result = "failed"
		}
		fmt.Fprintf(&text, "%-9s %s\n", check.name, result)
		fmt.Fprintf(&markdown, "| %s | %s |\n", check.name, result)
		if failures[n] != nil {
			failures[n] = fmt.Errorf("%s failed:\n%w", check.name, failures[n])
		}
	}
	if err := errors.Join(failures...); err != nil {
		return nil, errors.New(text.String() + err.Error())
	}
	return &Checked{Markdown: markdown.String(), Report: text.String()}, nil
}

// CheckLint fails when something is found in code, workflows or configuration.
//
// +check
// +cache="10m"
func (m *Slipway) CheckLint(ctx context.Context) error {
	_, err := m.Lint(ctx, nil, nil, false, false)
	return err
}

// CheckTest fails when a test does, or when too little is covered.
//
// +check
func (m *Slipway) CheckTest(ctx context.Context) error {
	_, err := m.Test(ctx, nil)
	return err
}

// CheckValidate fails when something is found in the Terraform configuration.
//
// +check
func (m *Slipway) CheckValidate(ctx context.Context) error {
	_, err := m.Validate(ctx, "terraform")
	return err
}

// CheckBuild fails when an image cannot be built.
//
// +check
func (m *Slipway) CheckBuild(ctx context.Context) error {
	_, err := m.Build(ctx, nil, nil)
	return err
}

// span shows what runs as one line of the trace.
func span(ctx context.Context, name string, run func(context.Context) error) error {
	ctx, s := Tracer().Start(ctx, name)
	defer s.End()
	err := run(ctx)
	if err != nil {
		s.SetStatus(codes.Error, name+" failed")
	}
	return err
}
