// Package tool pins the tools that look at the code, and tells one that found
// something from one that could not be had.
package tool

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"dagger/slipway/internal/exec/step"
)

// Tool is a program that a step runs.
type Tool struct {
	Name string
	// Package and Version pin a tool that is written in Go: it is compiled by
	// `go run package@version`, which keeps it in the build cache and checks it
	// against the checksum database, so that Go is all that a machine needs.
	Package, Version string
	// Install says how to get a tool that is not compiled, for people.
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

	// Those that describe, sign and scan images are never compiled by the pipeline:
	// it would take minutes.
	Trivy  = Tool{Name: "trivy", Install: "install it (https://trivy.dev, or GOEXPERIMENT=jsonv2 go install github.com/aquasecurity/trivy/cmd/trivy@v0.74.0)"}
	Syft   = Tool{Name: "syft", Install: "install it (go install github.com/anchore/syft/cmd/syft@v1.57.1)"}
	Cosign = Tool{Name: "cosign", Install: "install it (go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3)"}
)

// Compiled are the tools that Go compiles where they run.
func Compiled() []Tool {
	return []Tool{GolangciLint, Gofumpt, Govulncheck, Actionlint, TFLint, Gitleaks}
}

// goTool is what compiles the others.
var goTool = Tool{Name: "go", Install: "install Go from https://go.dev/dl"}

// Command is the tool's command line. What it exits with is lost where it is
// compiled: `go run` turns every exit code but 0 into 1. A -mod=vendor of GOFLAGS,
// which is about the module that the tool looks at, would keep go from finding it.
func (t Tool) Command(args ...string) []string {
	if t.Package == "" {
		return append([]string{t.Name}, args...)
	}
	return append([]string{"go", "run", "-mod=mod", t.Package + "@" + t.Version}, args...)
}

// MissingError is the error of a tool that cannot be had where the step ran.
type MissingError struct {
	Tool string
	// Reason says why, and how to get it.
	Reason string
}

func (m *MissingError) Error() string { return m.Reason }

// Run runs a step whose command is the tool's. The error is a [*MissingError] where
// the tool cannot be had; otherwise the tool ran, and its exit code is the
// caller's to judge.
func (t Tool) Run(ctx context.Context, executor step.Executor, s step.Step, dir string) (step.Result, error) {
	result, err := executor.Run(ctx, s, dir)
	if errors.Is(err, exec.ErrNotFound) {
		absent := t
		if t.Package != "" {
			absent = goTool
		}
		return result, &MissingError{Tool: t.Name, Reason: fmt.Sprintf("%s is not on PATH: %s, or run it with Dagger", absent.Name, absent.Install)}
	}
	if err != nil {
		return result, err
	}
	if said := t.fetchError(result); said != "" {
		return result, &MissingError{Tool: t.Name, Reason: fmt.Sprintf("%s %s cannot be fetched, which needs the network the first time: %s", t.Name, t.Version, said)}
	}
	return result, nil
}

// goMessage is the go command's own voice, as against that of what it runs.
var goMessage = regexp.MustCompile(`(?m)^go: (.+)$`)

// fetchError is why the go command could not get the tool; "" where it could.
func (t Tool) fetchError(result step.Result) string {
	if t.Package == "" || result.ExitCode == 0 {
		return ""
	}
	for _, line := range goMessage.FindAllStringSubmatch(result.Stderr, -1) {
		if said, ok := strings.CutPrefix(line[1], t.Package+"@"+t.Version); ok {
			return strings.TrimLeft(said, ": ")
		}
	}
	return ""
}
