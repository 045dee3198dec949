package image_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// goCommand is a fake go command for go env that compiles with this machine's go.
type goCommand struct {
	setting string            // its GOTOOLCHAIN
	own     string            // its own version
	has     map[string]string // other versions that it may fetch, and what it says about them
	built   *step.Step        // the compilation that was asked for
	host    step.Host
}

func (g *goCommand) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	if s.Args[1] == "build" {
		g.built = &s
		s.Env["GOTOOLCHAIN"] = "local"
		return g.host.Run(ctx, s, dir)
	}
	version := g.own
	if choice := s.Env["GOTOOLCHAIN"]; choice != "" {
		if said := g.has[choice]; said != "" {
			return step.Result{ExitCode: 1, Stderr: said}, nil
		}
		version = choice
	}
	if result, err := g.host.Run(ctx, s, dir); err != nil || result.ExitCode != 0 {
		if s.Env["GOTOOLCHAIN"] == "" {
			return result, err
		}
	}
	answer := map[string]string{"GOVERSION": version, "GOTOOLCHAIN": g.setting}
	data, err := json.Marshal(answer)
	if err != nil {
		return step.Result{}, err
	}
	return step.Result{}, os.WriteFile(filepath.Join(dir, s.Stdout), data, 0o600)
}

func TestToolchain(t *testing.T) {
	host := runtime.Version()
	const asked = "go1.99.1"
	tests := map[string]struct {
		tag, module string
		command     goCommand
		selected    string // GOTOOLCHAIN of the compilation
		note        string
	}{
		"the tree asks for none":              {"1.26", "go 1.26", goCommand{own: host}, host, ""},
		"the machine has the locked one":      {host[2:] + "-bookworm", "go 1.26", goCommand{own: host}, host, ""},
		"a later one is in go.mod":            {"1.26.0", "go 1.26\n\ntoolchain go1.99.1", goCommand{own: asked}, asked, "instead of go1.99.1"},
		"go.mod alone asks":                   {"latest", "go 1.26.1\n\ntoolchain go1.99.1", goCommand{own: asked}, asked, "instead of go1.99.1"},
		"an earlier one is in go.mod":         {"1.99.1", "go 1.26\n\ntoolchain go1.26.1", goCommand{own: asked}, asked, "instead of go1.99.1"},
		"it may be fetched":                   {"1.99.1-alpine", "go 1.26", goCommand{own: host, setting: "auto"}, asked, "built with " + host + " instead of go1.99.1"},
		"it must not be fetched":              {"1.99.1", "go 1.26", goCommand{own: host, setting: "local"}, host, "built with " + host + " instead of go1.99.1, which the tree requests, so its digest differs from that of other machines: GOTOOLCHAIN=local prevents its download"},
		"it cannot be fetched":                {"1.99.1", "go 1.26", goCommand{own: host, setting: "auto", has: map[string]string{asked: "go: download go1.99.1: toolchain not available\nmore"}}, host, "so its digest differs from that of other machines: go env ended with exit code 1: go: download go1.99.1: toolchain not available"},
		"the machine's Go is not a release":   {"1.99.1", "go 1.26", goCommand{own: "devel +abc", setting: "local"}, "local", "instead of go1.99.1"},
		"the reference is pinned by a digest": {"1.99.1@sha256:abc", "go 1.26", goCommand{own: asked}, asked, "instead of go1.99.1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			sourcetest.Write(t, dir, "api/go.mod", "module example.com/api\n\ngo 1.26\n")
			sourcetest.Write(t, dir, "api/main.go", "package main\n\nfunc main() {}\n")
			b := builder(t, dir)
			b.Lock.Images["go"] = image.Pin{Reference: "docker.io/library/golang:" + tt.tag}
			tt.command.host = step.Host{Source: dir}
			b.Exec = &tt.command
			p, err := platform.Load(dir)
			require.NoError(t, err)
			sourcetest.Write(t, dir, "api/go.mod", "module example.com/api\n\n"+tt.module+"\n")

			images, err := b.Build(t.Context(), p.Services[:1])

			require.NoError(t, err)
			require.Equal(t, "off", tt.command.built.Env["GOENV"])
			if tt.note == "" {
				require.Empty(t, images[0].Note)
			} else {
				require.Contains(t, images[0].Note, tt.note)
			}
			file, err := child(t, images[0]).ConfigFile()
			require.NoError(t, err)
			require.Equal(t, host, file.Config.Labels[image.GoLabel], "the binary itself says what made it")
			described, err := image.Describe(images)
			require.NoError(t, err)
			require.Equal(t, images[0].Note, described.Images[0].Note)
		})
	}
}

func TestToolchainFails(t *testing.T) {
	tests := map[string]struct {
		module string
		code   outcome.Code
		want   string
	}{
		"go.mod is no such file":  {"modul example.com/api", outcome.Usage, "reading api/go.mod"},
		"it asks for a later one": {"module example.com/api\n\ngo 1.99.1\n", outcome.Failed, "requires go >= 1.99.1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOTOOLCHAIN", "local")
			dir := sourcetest.New(t)
			p, err := platform.Load(dir)
			require.NoError(t, err)
			sourcetest.Write(t, dir, "api/go.mod", tt.module)
			_, err = builder(t, dir).Build(t.Context(), p.Services[:1])
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
		})
	}
}

func TestCheckGoSettings(t *testing.T) {
	require.NoError(t, image.CheckGoSettings([]string{"GOPRIVATE=example.com/team", "GOPROXY=", "GOVULNDB=https://vuln.example.com"}))
	for _, setting := range []string{"GOPRIVATE", "GOMODCACHE=/tmp", "GOFLAGS=-race", "GOVULNDBS=x"} {
		require.ErrorContains(t, image.CheckGoSettings([]string{setting}), `invalid --go-env "`+setting+`": want NAME=value with one of GOAUTH,`)
	}
}
