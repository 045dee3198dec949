package gotest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestForPlatform(t *testing.T) {
	dir := sourcetest.New(t)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	o := gotest.ForPlatform(dir, p)
	require.Equal(t, []string{"api"}, o.Modules, "a site has no Go tests, and this tree no pipeline")
	require.Empty(t, o.Exclude)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "ci", "go.mod"), []byte("module ci\n"), 0o600))
	o = gotest.ForPlatform(dir, p)
	require.Equal(t, []string{"api"}, o.Modules, "another ci is the user's")
	require.Empty(t, o.Exclude)

	sourcetest.Write(t, dir, "ci/cmd/slipway/main.go", "package main\n")
	o = gotest.ForPlatform(dir, p)
	require.Equal(t, []string{"api", "ci"}, o.Modules)

	sourcetest.Write(t, dir, "ci/test/go.mod", "module ci/test\n")
	o = gotest.ForPlatform(dir, p)
	require.Equal(t, []string{"api", "ci", "ci/test"}, o.Modules)
	require.NoError(t, o.Exclude.Check())
	require.True(t, o.Exclude.Match("ci/main.go"))
	require.False(t, o.Exclude.Match("ci/internal/images/image/image.go"))
	require.False(t, o.Exclude.Match("ci/internal/check/gotest/run.go"))
	require.True(t, o.Exclude.Match("ci/internal/rehearse/rehearsal/faultyapp/main.go"))
	require.False(t, o.Exclude.Match("ci/internal/check/gotest/testdata.go"))
	require.True(t, o.Exclude.Match("ci/internal/sourcetest/sourcetest.go"))
	require.True(t, o.Exclude.Match("ci/internal/rehearse/localaws/localawstest/platform.go"))
	require.True(t, o.Exclude.Match("ci/internal/rehearse/localaws/localawstest/testapp/testapp.go"))
}

func TestHasTests(t *testing.T) {
	dir := sourcetest.New(t)
	require.False(t, gotest.HasTests(dir, "api"))
	sourcetest.Write(t, dir, "api/inner/go.mod", "module inner\n")
	sourcetest.Write(t, dir, "api/inner/x_test.go", "package inner\n")
	sourcetest.Write(t, dir, "api/vendor/x/x_test.go", "package x\n")
	sourcetest.Write(t, dir, "api/_old/x_test.go", "package old\n")
	require.False(t, gotest.HasTests(dir, "api"), "of other modules, and of folders that the go command skips")
	require.True(t, gotest.HasTests(dir, "api/inner"))
	sourcetest.Write(t, dir, "api/deep/x_test.go", "package deep\n")
	require.True(t, gotest.HasTests(dir, "api"))
	require.False(t, gotest.HasTests(dir, "missing"))
}
