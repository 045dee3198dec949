// Package thirdservice_test adds a service to two others, and takes it through every stage.
package thirdservice_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/infratest"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }

// newTree returns a repository with this one's services file and small services.
func newTree(t *testing.T) string {
	t.Helper()
	dir := sourcetest.New(t)
	services, err := os.ReadFile(filepath.Join(sourcetest.Root("terraform"), filepath.FromSlash(platform.ServicesFile)))
	require.NoError(t, err)
	sourcetest.Write(t, dir, platform.ServicesFile, string(services))
	sourcetest.WriteServices(t, dir)
	sourcetest.Commit(t, dir, "two services")
	return dir
}

// run runs the command for a tree, and returns what it printed, which is as its schema
// says.
func run(t *testing.T, dir string, args ...string) (stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), append(args, "--source", dir), &out, &errs, nil)
	require.Equal(t, outcome.Done, code, errs.String())
	for _, d := range schematest.Documents() {
		if slices.Contains(args, "json") && slices.Contains(d.Commands, args[0]) {
			schematest.RequireValid(t, d.Name, out.Bytes())
		}
	}
	return out.String()
}

// decoded is the one JSON document that a command prints.
func decoded[T any](t *testing.T, dir string, args ...string) (document T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(run(t, dir, append(args, "--output", "json")...)), &document))
	return document
}

// TestThirdService: one entry and one folder, which a command writes, and each stage
// has a third service. Nothing else is edited.
func TestThirdService(t *testing.T) {
	dir := newTree(t)
	run(t, dir, "new", "service", "orders", "--kind", "go")
	sourcetest.Commit(t, dir, "a third service")
	p, err := platform.Load(dir)
	require.NoError(t, err)

	t.Run("test", func(t *testing.T) {
		options := gotest.ForPlatform(dir, p)
		require.Equal(t, []string{"backend", "orders"}, options.Modules)
		options.Modules, options.Gate = []string{"orders"}, coverage.Gate{Default: gotest.DefaultCoverage}
		summary, err := gotest.Run(t.Context(), dir, step.Host{Source: dir}, options)
		require.NoError(t, err)
		require.Equal(t, gotest.Succeeded, summary.Result, summary.String())
		require.NotZero(t, summary.Modules[0].Passed)
	})
	t.Run("plan", func(t *testing.T) {
		w := infratest.New(t, ".")
		services, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(platform.ServicesFile)))
		require.NoError(t, err)
		w.Write(filepath.Base(platform.ServicesFile), string(services))
		w.Init("-backend=false")
		require.Contains(t, w.Run("test", "-filter=tests/file.tftest.hcl", "-verbose"), `aws_ecs_service.service["orders"]`)
	})
	rehearsaltest.RunWithAWS(t, dir, func() { deliverThird(t, dir) })
}

// deliverThird releases a change of the third service, and takes it back.
func deliverThird(t *testing.T, dir string) {
	first := decoded[report.Status](t, dir, "status")
	require.Len(t, first.Services, 3)
	for _, s := range first.Services {
		require.Equal(t, report.Steady, s.State, s.Name)
	}
	ask := func(path string) string {
		t.Helper()
		answer, err := http.Get(first.URL + path) //nolint:noctx // on loopback, and over with the test
		require.NoError(t, err)
		defer answer.Body.Close()
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return string(body)
	}
	version := func(path string) string {
		t.Helper()
		var answer struct{ Version string }
		require.NoError(t, json.Unmarshal([]byte(ask(path)), &answer))
		return answer.Version
	}
	before := first.Services[2].Version.SHA
	require.Equal(t, []string{before, before}, []string{version("/api/"), version("/orders")})
	require.Contains(t, ask("/"), "<!doctype html>", "the page, as ever")

	sourcetest.Write(t, dir, "orders/internal/api/more.go", "package api\n\n// Answer is the answer.\nconst Answer = 42\n\nfunc init() { println(Answer) }\n")
	sourcetest.Commit(t, dir, "orders knows the answer")
	diff := decoded[report.Diff](t, dir, "diff")
	require.Equal(t, "orders", diff.Services[2].Name)
	require.True(t, diff.Services[2].Changed)
	second := decoded[report.Release](t, dir, "deploy")
	require.Equal(t, report.Succeeded, second.Result)
	require.Equal(t, []string{second.SHA, second.SHA}, []string{version("/api/"), version("/orders")})
	require.Equal(t, report.Succeeded, decoded[report.Release](t, dir, "rollback").Result)
	require.Equal(t, []string{before, before}, []string{version("/api/"), version("/orders")})
}
