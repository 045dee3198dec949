package tool_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
)

func TestCommand(t *testing.T) {
	require.Equal(t, []string{"go", "run", "-mod=mod", "mvdan.cc/gofumpt@v0.12.0", "-d", "."}, tool.Gofumpt.Command("-d", "."))
	require.Equal(t, []string{"terraform", "fmt"}, tool.Terraform.Command("fmt"))
}

// TestPins checks that every compiled tool has an exact version, and that the others have
// an installation hint.
func TestPins(t *testing.T) {
	for _, pinned := range tool.Compiled() {
		require.NoError(t, module.CheckImportPath(pinned.Package), pinned.Name)
		require.Regexp(t, `^v\d+\.\d+\.\d+$`, pinned.Version, pinned.Name)
	}
	for _, installed := range []tool.Tool{tool.Terraform, tool.Nginx, tool.Trivy} {
		require.Contains(t, installed.Install, "install it", installed.Name)
	}
}

// ended is an executor that returns the same result for every step.
type ended struct {
	result step.Result
	err    error
}

func (e ended) Run(context.Context, step.Step, string) (step.Result, error) { return e.result, e.err }

func TestRun(t *testing.T) {
	// Messages of Go 1.26.
	const offline = `go: golang.org/x/vuln/cmd/govulncheck@v1.9.0: golang.org/x/vuln/cmd/govulncheck@v1.9.0: Get "https://modules.example.com/golang.org/x/vuln/@v/v1.9.0.info": dial tcp 127.0.0.1:1: connect: connection refused` + "\n"
	const old = "go: golang.org/x/vuln/cmd/govulncheck@v1.9.0 requires go >= 1.27.0 (running go 1.26.8; GOTOOLCHAIN=local)\n"
	broken := errors.New("the engine is down")
	tests := map[string]struct {
		tool    tool.Tool
		end     ended
		missing string
		err     error
	}{
		"success":                   {tool.Govulncheck, ended{result: step.Result{ExitCode: 1, Stderr: "found it\nexit status 1\n"}}, "", nil},
		"the executor failed":       {tool.Govulncheck, ended{err: broken}, "", broken},
		"no such tool":              {tool.Terraform, ended{err: fmt.Errorf("running it: %w", exec.ErrNotFound)}, "terraform is not on PATH: install it from https://developer.hashicorp.com/terraform/install, or run it with Dagger", nil},
		"no go":                     {tool.Govulncheck, ended{err: exec.ErrNotFound}, "go is not on PATH: install Go from https://go.dev/dl", nil},
		"no network":                {tool.Govulncheck, ended{result: step.Result{ExitCode: 1, Stderr: offline}}, "govulncheck v1.9.0 cannot be fetched, which needs the network the first time: golang.org/x/vuln", nil},
		"old Go":                    {tool.Govulncheck, ended{result: step.Result{ExitCode: 1, Stderr: old}}, "requires go >= 1.27.0", nil},
		"downloading, and it ran":   {tool.Govulncheck, ended{result: step.Result{Stderr: "go: downloading golang.org/x/vuln v1.9.0\n"}}, "", nil},
		"what it looks at is wrong": {tool.Govulncheck, ended{result: step.Result{ExitCode: 1, Stderr: "go: go.mod file not found\n"}}, "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := tt.tool.Run(t.Context(), tt.end, step.Step{}, t.TempDir())
			require.Equal(t, tt.end.result, result)
			if tt.missing == "" {
				require.ErrorIs(t, err, tt.err)
				return
			}
			var missing *tool.MissingError
			require.ErrorAs(t, err, &missing)
			require.Equal(t, tt.tool.Name, missing.Tool)
			require.ErrorContains(t, missing, tt.missing)
		})
	}
}
