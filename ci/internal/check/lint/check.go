package lint

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Check is a run of a tool on a part of the tree.
type Check struct {
	Kind Kind
	// Name identifies the check: the tool and the part of the tree.
	Name string
	// notApplicable is why the check has nothing to do, or "".
	notApplicable string
	run           func(ctx context.Context, executor step.Executor) ([]Finding, error)
}

// invocation is a step of a tool and the interpretation of its result.
type invocation struct {
	tool tool.Tool
	step step.Step
	// read returns the findings from the outputs in dir. An error means that the tool
	// failed.
	read func(dir string, result step.Result) ([]Finding, error)
}

// check returns a check that runs invocations in sequence with the same output directory,
// until one fails.
func check(kind Kind, what string, invocations ...invocation) Check {
	return Check{Kind: kind, Name: checkName(invocations[0].tool.Name, what), run: func(ctx context.Context, executor step.Executor) ([]Finding, error) {
		dir, err := os.MkdirTemp("", "slipway-lint-")
		if err != nil {
			return nil, fmt.Errorf("creating a folder for the check: %w", err)
		}
		defer os.RemoveAll(dir)
		var findings []Finding
		for _, i := range invocations {
			result, err := i.tool.Run(ctx, executor, i.step, dir)
			if err != nil {
				return findings, err
			}
			found, err := i.read(dir, result)
			findings = append(findings, found...)
			if err != nil {
				return findings, err
			}
		}
		return findings, nil
	}}
}

func checkName(tool, what string) string {
	if what == "" || what == "." {
		return tool
	}
	return tool + " " + what
}

// pathMapper maps paths in the output of tools to paths in the source tree.
type pathMapper struct {
	// roots are the absolute paths of the tree's root, on the host and in containers.
	roots []string
}

func newPathMapper(source string) (pathMapper, error) {
	root, err := filepath.Abs(source)
	if err != nil {
		return pathMapper{}, fmt.Errorf("finding the source tree: %w", err)
	}
	p := pathMapper{roots: []string{root, step.ContainerSource}}
	if resolved, err := filepath.EvalSymlinks(root); err == nil && resolved != root {
		p.roots = append(p.roots, resolved)
	}
	return p, nil
}

// relative returns the path, relative to the tree's root, of a file that a tool in the
// folder dir calls name.
func (p pathMapper) relative(dir, name string) string {
	if name == "" {
		return ""
	}
	if !filepath.IsAbs(name) {
		return path.Join(dir, filepath.ToSlash(name))
	}
	for _, root := range p.roots {
		if inside, err := filepath.Rel(root, name); err == nil && filepath.IsLocal(inside) {
			return filepath.ToSlash(inside)
		}
	}
	return filepath.ToSlash(name)
}

// toolError returns the error of a tool that failed, with its last lines of output.
func toolError(s step.Step, result step.Result, err error) error {
	lines := strings.Split(strings.TrimSpace(result.Stderr), "\n")
	output := outcome.OneLine(strings.Join(lines[max(0, len(lines)-3):], " "))
	switch {
	case output != "":
		return fmt.Errorf("%s ended with exit code %d: %s", s.Name, result.ExitCode, output)
	case err != nil:
		return fmt.Errorf("%s ended with exit code %d, but its output cannot be read: %w", s.Name, result.ExitCode, err)
	}
	return fmt.Errorf("%s ended with exit code %d and printed nothing", s.Name, result.ExitCode)
}
