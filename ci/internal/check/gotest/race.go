package gotest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// ErrNoCompiler is wrapped by the error of a run with the race detector but without a C
// compiler.
var ErrNoCompiler = errors.New("the race detector needs a C compiler: install gcc or clang, or test without it")

// racePlatforms are the platforms of internal/platform.RaceDetectorSupported in Go 1.26.
var racePlatforms = []string{
	"linux/amd64", "linux/arm64", "linux/loong64", "linux/ppc64le", "linux/riscv64", "linux/s390x",
	"darwin/amd64", "darwin/arm64", "freebsd/amd64", "netbsd/amd64", "windows/amd64",
}

// RaceSupported reports whether the race detector works on this machine, or else the reason
// why not. On all platforms but macOS it needs a C compiler.
func RaceSupported(ctx context.Context) (supported bool, reason string) {
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOOS", "GOARCH", "CC").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return false, noGo
	}
	var env struct{ GOOS, GOARCH, CC string }
	if err == nil {
		err = json.Unmarshal(out, &env)
	}
	if err != nil {
		reason := err.Error()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
			reason = firstLine(string(exit.Stderr))
		}
		return false, "go env failed: " + reason
	}
	if platform := env.GOOS + "/" + env.GOARCH; !slices.Contains(racePlatforms, platform) {
		return false, "the race detector does not run on " + platform
	}
	if env.GOOS == "darwin" {
		return true, ""
	}
	// CC may contain flags, and a compiler's path may be quoted.
	compiler, _, _ := strings.Cut(strings.Trim(env.CC, `"'`), " ")
	if _, err := exec.LookPath(compiler); err != nil {
		return false, fmt.Sprintf("the race detector needs a C compiler, and %q is not on PATH: install gcc or clang", compiler)
	}
	return true, ""
}

// raceError returns the error of a run that failed because the race detector is not
// supported, which is not a test failure.
func raceError(r *results, stderr string) error {
	if strings.Contains(stderr, "-race is not supported on") || strings.Contains(stderr, "-race requires cgo") {
		return errors.New(firstLine(stderr))
	}
	for _, build := range r.builds {
		if text := build.String(); strings.Contains(text, "C compiler ") && strings.Contains(text, " not found") {
			return ErrNoCompiler
		}
	}
	return nil
}
