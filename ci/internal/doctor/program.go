package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"dagger/slipway/internal/step"
)

// said runs a program apart from the source tree and returns what it said, on
// both of its streams.
func said(ctx context.Context, executor step.Executor, args ...string) (text string, exit int, err error) {
	result, err := executor.Run(ctx, step.Step{
		Name: args[0], Args: args,
		// Go does not fetch another Go, and Terraform and Dagger do not ask for news.
		Env: map[string]string{"GOTOOLCHAIN": "local", "LC_ALL": "C", "CHECKPOINT_DISABLE": "1", "DO_NOT_TRACK": "1", "NO_COLOR": "1"},
	}, os.TempDir())
	return result.Stderr, result.ExitCode, err
}

// Program is a program on PATH, and its version.
type Program struct {
	Called string
	// Args make it tell its version, which Version finds in what it says: its
	// first group.
	Args    []string
	Version *regexp.Regexp
	// Get says how to get it.
	Get  string
	Exec step.Executor
}

// Name fits Probe.
func (p Program) Name() string { return p.Called }

// Look asks the program for its version.
func (p Program) Look(ctx context.Context) Finding {
	version, found := p.ask(ctx)
	if found.State != OK {
		return found
	}
	return ok("%s", version)
}

// ask is Look for those who have more to look at.
func (p Program) ask(ctx context.Context) (version string, found Finding) {
	text, exit, err := said(ctx, p.Exec, p.Args...)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", missing(p.Get, "%s is not on PATH", p.Args[0])
	case err != nil:
		return "", missing(p.Get, "%s", oneLine(err.Error()))
	}
	match := p.Version.FindStringSubmatch(text)
	if match == nil || exit != 0 {
		return "", missing(p.Get, "%s answers %q (exit code %d)", strings.Join(p.Args, " "), firstLine(text), exit)
	}
	return match[1], Finding{State: OK}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// firstLine is the first line that says something, and not all of a long one.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(line); len(runes) > 120 {
		return string(runes[:119]) + "…"
	}
	return line
}

// number is how most programs write their version.
const number = `v?(\d+\.\d+(?:\.\d+)?[\w.+-]*)`

// versionAfter finds the version after some words.
func versionAfter(words string) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf(`(?m)%s%s`, words, number))
}
