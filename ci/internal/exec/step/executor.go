package step

import "context"

// Executor runs a step somewhere: [Host] with the tools of this machine, the
// Dagger module in a container. The step's outputs are in dir afterwards, which
// the caller made. The error is nil when the tool ran to its end, whatever its
// exit code.
type Executor interface {
	Run(ctx context.Context, s Step, dir string) (Result, error)
}

// Result is what a finished step left.
type Result struct {
	// ExitCode is the tool's exit status. A status other than 0 is not an
	// error of the executor: the stage judges it.
	ExitCode int
	// Stderr is what the tool wrote to standard error, and to standard output
	// where the step does not keep that in a file.
	Stderr string
}
