package pipeline_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

func TestInitAndUpgrade(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Git(t, dir, "init", "-q")
	sourcetest.Write(t, dir, "Dockerfile", "FROM scratch\nEXPOSE 8080\n")
	sourcetest.Commit(t, dir, "first")
	p := pipeline.Pipeline{Dir: dir, Versions: version.Resolver{
		Own: "v1.1.0", Known: version.Releases{{Version: "v1.1.0", Notes: "- more"}, {Version: "v1.0.0"}},
		Exists: func(context.Context, string) (bool, error) { return false, nil },
	}}
	o := scaffold.InitOptions{Choices: scaffold.Choices{Services: []string{"web=."}}}
	_, err := p.Init(t.Context(), "v9.9.9", o)
	require.ErrorContains(t, err, "version v9.9.9 does not exist in github.com/slipway-cd/slipway: leave out --version for v1.1.0")
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.NoDirExists(t, filepath.Join(dir, "terraform"))

	result, err := p.Init(t.Context(), "v1.0.0", o)
	require.NoError(t, err)
	require.Equal(t, "v1.0.0", result.Version)
	_, err = p.Upgrade(t.Context(), "v9.9.9", false)
	require.ErrorContains(t, err, "version v9.9.9 does not exist in github.com/slipway-cd/slipway: leave out --to for v1.1.0")
	upgraded, err := p.Upgrade(t.Context(), "", false)
	require.NoError(t, err)
	require.Equal(t, "- more", upgraded.Changes[0].Notes)
	data, err := os.ReadFile(filepath.Join(dir, "dagger.json"))
	require.NoError(t, err)
	require.Contains(t, string(data), "@v1.1.0")

	older := p
	older.Versions.Own = "v1.0.0"
	_, err = older.Upgrade(t.Context(), "", false)
	require.ErrorContains(t, err, "names v1.1.0, and this program is v1.0.0: go install github.com/slipway-cd/slipway/ci/cmd/slipway@v1.1.0, or move back with --to v1.0.0")
	require.Equal(t, outcome.Usage, outcome.Of(err))
	upgraded, err = older.Upgrade(t.Context(), "v1.0.0", false)
	require.NoError(t, err)
	require.Equal(t, "v1.1.0", upgraded.From)
}

// TestTestOfNoModule checks that a tree without Go services has nothing to test.
func TestTestOfNoModule(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Git(t, dir, "init", "-q")
	sourcetest.Write(t, dir, "index.html", "<p>")
	sourcetest.Write(t, dir, "terraform/services.auto.tfvars.json", `{"services": {"web": {"kind": "nginx", "path": ".", "port": 8080, "health_path": "/healthz", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1}}}`)
	sourcetest.Write(t, dir, "ci/images.lock.json", sourcetest.Files()["ci/images.lock.json"])
	sourcetest.Commit(t, dir, "first")
	out := filepath.Join(t.TempDir(), "test")
	summary, err := pipeline.Pipeline{Dir: dir, Recorder: report.NewRecorder(time.Now, report.Plain{W: io.Discard})}.Test(t.Context(), pipeline.TestOptions{Out: out})
	require.NoError(t, err)
	require.Equal(t, gotest.Succeeded, summary.Result)
	require.FileExists(t, filepath.Join(out, "summary.md"))
}
