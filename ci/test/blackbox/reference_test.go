package blackbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// foreignTree is a repository that has nothing of slipway's: a services file and services.
func foreignTree(t *testing.T) string {
	t.Helper()
	tree := sourcetest.New(t)
	require.NoError(t, os.RemoveAll(filepath.Join(tree, "ci")))
	sourcetest.Write(t, tree, "api/main_test.go", passing)
	sourcetest.Commit(t, tree, "only services")
	return tree
}

// rootTree is a repository whose root is its only service.
func rootTree(t *testing.T) string {
	t.Helper()
	tree := sourcetest.New(t)
	for _, folder := range []string{"ci", "web"} {
		require.NoError(t, os.RemoveAll(filepath.Join(tree, folder)))
	}
	sourcetest.Git(t, tree, "mv", "api/main.go", "api/go.mod", ".")
	sourcetest.Write(t, tree, "main_test.go", passing)
	sourcetest.Write(t, tree, "terraform/services.auto.tfvars.json", `{"services": {"api": {"path": ".", "kind": "go", "port": 8000, "health_path": "/health", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1}}}`)
	sourcetest.Commit(t, tree, "one service")
	return tree
}

// call runs dagger call for a module from a tree. It returns what it printed to standard
// output, and everything that it printed.
func call(t *testing.T, tree, module string, args ...string) (stdout, all string, err error) {
	t.Helper()
	where, err := filepath.Abs(module)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "dagger", append([]string{"--progress=plain", "call", "-m", where}, args...)...)
	cmd.Dir = tree
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), out.String() + errs.String(), err
}

// TestByReference calls the module for a repository that has nothing of slipway's.
func TestByReference(t *testing.T) {
	needsEngine(t)
	tree, root := foreignTree(t), rootTree(t)
	for _, tt := range []struct {
		name, tree, call, want, refused string
	}{
		{"test", tree, "test --min-coverage=0 file --path=summary.md contents", "api", ""},
		{"build", tree, "build --without-base file --path=images.json contents", `"service": "api"`, ""},
		{"image", tree, "image --service=api entrypoint", "/server", ""},
		{"rehearse", tree, "rehearse --skip-tests result", "succeeded", ""},
		{"validate", tree, "validate", "", "terraform has no Terraform configuration"},
		{"rehearse-infra", tree, "rehearse-infra", "", "works only in its repository"},
		{"test of a root", root, "test --min-coverage=0 file --path=summary.md contents", "passed", ""},
		{"build of a root", root, "build file --path=images.json contents", `"service": "api"`, ""},
		{"formatted root", root, "check-fmt", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, all, err := call(t, tt.tree, sourcetest.Repository(), strings.Fields(tt.call)...)
			if tt.refused != "" {
				require.Error(t, err)
				require.Contains(t, all, tt.refused)
				return
			}
			require.NoError(t, err, all)
			require.Contains(t, stdout, tt.want)
		})
	}
}

// TestExampleModule calls slipway's functions from a module that depends on it.
func TestExampleModule(t *testing.T) {
	needsEngine(t)
	tree := foreignTree(t)
	run := func(args ...string) string {
		stdout, all, err := call(t, tree, filepath.Join(sourcetest.Repository(), "examples", "dagger"), append([]string{"--source=."}, args...)...)
		require.NoError(t, err, all)
		return stdout
	}
	require.Contains(t, run("verify", "--min-coverage=0", "--without-base", "glob", "--pattern=**/index.json"), "images/api/index.json")
	require.Contains(t, run("ask", "--service=api"), `"status": "ok"`)
	rehearsaltest.Deliver(t, tree, func(endpoint string, _ report.Release) {
		sourcetest.Write(t, tree, "web/site/index.html", "<!doctype html><title>two</title>")
		sourcetest.Commit(t, tree, "second")
		require.Contains(t, run("release", "--aws="+strings.Replace(endpoint, "http", "tcp", 1)), "succeeded")
	})
}
