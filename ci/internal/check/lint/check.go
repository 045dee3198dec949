package lint

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/report/outcome"
)

// Check is one run of a tool over one part of the tree.
type Check struct {
	Kind Kind
	// Name tells it from others: the tool, and what it looks at.
	Name string
	// notApplicable says why there is nothing to look at; "" where there is.
	notApplicable string
	run           func(ctx context.Context, executor step.Executor) ([]Finding, error)
}

// invocation is a step of a tool, and what its end means.
type invocation struct {
	tool tool.Tool
	step step.Step
	// read turns what the step left in dir into findings. An error means that
	// the tool did not do its work.
	read func(dir string, result step.Result) ([]Finding, error)
}

// check makes a check of invocations that run one after the other with the
// same output directory, until one fails.
func check(kind Kind, what string, invocations ...invocation) Check {
	return Check{Kind: kind, Name: checkName(invocations[0].tool.Name, what), run: func(ctx context.Context, executor step.Executor) ([]Finding, error) {
		dir, err := os.MkdirTemp("", "slipway-lint-")
		if err != nil {
			return nil, fmt.Errorf("making room for the check: %w", err)
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

// pathMapper finds files of the source tree in what tools say.
type pathMapper struct {
	// roots are the absolute names of the tree's root, where steps run.
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

// relative is the name of a file relative to the tree's root, where a tool that ran
// in the folder dir calls it name.
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

// toolError is the error of a tool that did not do its work, with its last words.
func toolError(s step.Step, result step.Result, err error) error {
	lines := strings.Split(strings.TrimSpace(result.Stderr), "\n")
	said := outcome.OneLine(strings.Join(lines[max(0, len(lines)-3):], " "))
	if said == "" {
		return fmt.Errorf("%s ended with exit code %d, and cannot be read: %w", s.Name, result.ExitCode, err)
	}
	return fmt.Errorf("%s ended with exit code %d: %s", s.Name, result.ExitCode, said)
}
