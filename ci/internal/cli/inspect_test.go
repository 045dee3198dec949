package cli_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/sourcetest"
)

func TestInspect(t *testing.T) {
	dir := sourcetest.New(t)
	built := filepath.Join(dir, ".slipway/build")
	before := filepath.Join(t.TempDir(), "before")
	for _, out := range []string{before, built} {
		code, _, stderr := run(t, "build", "--source", dir, "--service", "web", "--out", out)
		require.Equal(t, outcome.Done, code, stderr)
		sourcetest.Write(t, dir, "web/site/index.html", "changed")
	}
	code, stdout, stderr := run(t, "inspect", "web", "--source", dir, "--platform", "linux/arm64")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "linux/arm64  sha256:")
	require.Contains(t, stdout, "  /usr/share/nginx/html/index.html\n")
	require.NotContains(t, stdout, "amd64")

	code, stdout, stderr = run(t, "inspect", "web", "--against", filepath.Join(before, "web"), "--source", dir, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	var got struct {
		Platforms []struct{ Files []struct{ Name string } }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	require.Len(t, got.Platforms, 2)
	require.Len(t, got.Platforms[0].Files, 1)
	require.Equal(t, "/usr/share/nginx/html/index.html", got.Platforms[0].Files[0].Name)

	code, stdout, _ = run(t, "inspect", filepath.Join(before, "web"), "--built", before, "--output", "markdown")
	require.Equal(t, outcome.Done, code)
	require.Regexp(t, "(?s)^```\n.*\n```\n$", stdout)

	tests := map[string]struct {
		args []string
		want string
	}{
		"no image":       {[]string{"inspect"}, "inspect takes one image, and got 0"},
		"two images":     {[]string{"inspect", "a", "b"}, "and got 2: name the other one with --against"},
		"not built":      {[]string{"inspect", "api", "--source", dir}, "build it with slipway build --service api"},
		"against none":   {[]string{"inspect", "web", "--against", "api", "--source", dir}, `no image "api"`},
		"other platform": {[]string{"inspect", "web", "--platform", "linux/s390x", "--source", dir}, "web has no image for linux/s390x: it has linux/amd64, linux/arm64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, tt.args...)
			require.Equal(t, outcome.Usage, code)
			require.Empty(t, stdout)
			require.Contains(t, stderr, tt.want)
		})
	}
}
