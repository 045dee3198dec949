package step

import "context"

// Executor runs a step: [Host] with the tools of this machine, the Dagger module in a
// container. It writes the step's outputs to dir, which must exist. The error is nil if
// the tool ran to completion, whatever its exit code.
type Executor interface {
	Run(ctx context.Context, s Step, dir string) (Result, error)
}

// Result is the result of a finished step.
type Result struct {
	// ExitCode is the tool's exit code, which the stage judges.
	ExitCode int
	// Stderr is the tool's standard error, and its standard output unless the step
	// writes that to a file.
	Stderr string
}
