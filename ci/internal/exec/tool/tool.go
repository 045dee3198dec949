// Package tool pins the versions of tools, and distinguishes a tool that reported findings
// from one that is not available.
package tool

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

// Tool is a program that a step runs.
type Tool struct {
	Name string
	// Package and Version pin a tool that is written in Go. `go run package@version`
	// compiles it, caches it and checks it against the checksum database, so that a
	// machine needs only Go.
	Package, Version string
	// Install says how to install a tool that is not compiled.
	Install string
}

// The tools, and their versions.
var (
	GolangciLint = Tool{Name: "golangci-lint", Package: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint", Version: "v2.15.0"}
	Gofumpt      = Tool{Name: "gofumpt", Package: "mvdan.cc/gofumpt", Version: "v0.12.0"}
	Govulncheck  = Tool{Name: "govulncheck", Package: "golang.org/x/vuln/cmd/govulncheck", Version: "v1.9.0"}
	Actionlint   = Tool{Name: "actionlint", Package: "github.com/rhysd/actionlint/cmd/actionlint", Version: "v1.7.12"}
	TFLint       = Tool{Name: "tflint", Package: "github.com/terraform-linters/tflint", Version: "v0.64.0"}
	Gitleaks     = Tool{Name: "gitleaks", Package: "github.com/zricethezav/gitleaks/v8", Version: "v8.30.1"}

	Terraform = Tool{Name: "terraform", Install: "install it from https://developer.hashicorp.com/terraform/install"}
	Nginx     = Tool{Name: "nginx", Install: "install it (apt-get install nginx-light)"}

	// These build Dockerfiles: the first that works is used.
	Docker  = Tool{Name: "docker", Install: "install it from https://docs.docker.com/engine/install"}
	Podman  = Tool{Name: "podman", Install: "install it (apt-get install podman)"}
	Buildah = Tool{Name: "buildah", Install: "install Docker (https://docs.docker.com/engine/install), podman or buildah (apt-get install buildah)"}

	// Compiling these would take minutes, so they must be installed.
	Trivy  = Tool{Name: "trivy", Install: "install it (https://trivy.dev, or GOEXPERIMENT=jsonv2 go install github.com/aquasecurity/trivy/cmd/trivy@v0.74.0)"}
	Syft   = Tool{Name: "syft", Install: "install it (go install github.com/anchore/syft/cmd/syft@v1.57.1)"}
	Cosign = Tool{Name: "cosign", Install: "install it (go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3)"}
)

// Compiled returns the tools that `go run` compiles.
func Compiled() []Tool {
	return []Tool{GolangciLint, Gofumpt, Govulncheck, Actionlint, TFLint, Gitleaks}
}

// goTool compiles the others.
var goTool = Tool{Name: "go", Install: "install Go from https://go.dev/dl"}

// Command returns the tool's command line. `go run` turns every exit code but 0 into 1.
// -mod=mod overrides a -mod=vendor in GOFLAGS, with which go would not find the tool.
func (t Tool) Command(args ...string) []string {
	if t.Package == "" {
		return append([]string{t.Name}, args...)
	}
	return append([]string{"go", "run", "-mod=mod", t.Package + "@" + t.Version}, args...)
}

// MissingError is the error of a tool that is not available.
type MissingError struct {
	Tool string
	// Reason says why, and how to install it.
	Reason string
}

func (m *MissingError) Error() string { return m.Reason }

// Run runs a step of the tool. The error is a [*MissingError] if the tool is not
// available. The caller judges the exit code.
func (t Tool) Run(ctx context.Context, executor step.Executor, s step.Step, dir string) (step.Result, error) {
	result, err := executor.Run(ctx, s, dir)
	if errors.Is(err, exec.ErrNotFound) {
		missing := t
		if t.Package != "" {
			missing = goTool
		}
		return result, &MissingError{Tool: t.Name, Reason: fmt.Sprintf("%s is not on PATH: %s, or run it with Dagger", missing.Name, missing.Install)}
	}
	if err != nil {
		return result, err
	}
	if message := t.fetchError(result); message != "" {
		return result, &MissingError{Tool: t.Name, Reason: fmt.Sprintf("%s %s cannot be fetched, which needs the network the first time: %s", t.Name, t.Version, message)}
	}
	return result, nil
}

// goMessage matches a message of the go command itself, not of the tool that it runs.
var goMessage = regexp.MustCompile(`(?m)^go: (.+)$`)

// fetchError returns why the go command could not fetch the tool, or "".
func (t Tool) fetchError(result step.Result) string {
	if t.Package == "" || result.ExitCode == 0 {
		return ""
	}
	for _, line := range goMessage.FindAllStringSubmatch(result.Stderr, -1) {
		if message, ok := strings.CutPrefix(line[1], t.Package+"@"+t.Version); ok {
			return strings.TrimLeft(message, ": ")
		}
	}
	return ""
}
