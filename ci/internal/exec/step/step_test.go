package step_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

func TestExpand(t *testing.T) {
	original := step.Step{
		Args: []string{"go", "test", "-coverprofile=@out@/cover.out", "@out@:@out@"},
		Env:  map[string]string{"GOTMPDIR": "@out@", "GOWORK": "off"},
	}

	expanded := original.Expand("/out")

	require.Equal(t, []string{"go", "test", "-coverprofile=/out/cover.out", "/out:/out"}, expanded.Args)
	require.Equal(t, map[string]string{"GOTMPDIR": "/out", "GOWORK": "off"}, expanded.Env)
	require.Equal(t, "-coverprofile=@out@/cover.out", original.Args[2])
	require.Equal(t, "@out@", original.Env["GOTMPDIR"])
}

func TestExpandEmptyStep(t *testing.T) {
	require.Equal(t, step.Step{}, step.Step{}.Expand("/out"))
}

// TestFailureFiles checks that failure files are moved to the output directory with mode
// 0600, even if the tool fails.
func TestFailureFiles(t *testing.T) {
	source, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(source, "in"), 0o755))
	run := func(script string) step.Result {
		t.Helper()
		result, err := step.Host{Source: source}.Run(t.Context(), step.Step{Name: "a", Dir: "in", Args: []string{"sh", "-c", script}, FailureFiles: []string{"left", "absent"}}, out)
		require.NoError(t, err)
		return result
	}
	require.Equal(t, 3, run("umask 022; echo secret >left; exit 3").ExitCode)
	require.NoFileExists(t, filepath.Join(source, "in", "left"))
	info, err := os.Stat(filepath.Join(out, "left"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(filepath.Join(out, "left"))
	require.NoError(t, err)
	require.Equal(t, "secret\n", string(text))

	require.NoError(t, os.Mkdir(filepath.Join(source, "in", "left"), 0o755))
	_, err = step.Host{Source: source}.Run(t.Context(), step.Step{Name: "a", Dir: "in", Args: []string{"true"}, FailureFiles: []string{"left"}}, out)
	require.ErrorContains(t, err, "moving left, which a wrote")
	require.DirExists(t, filepath.Join(source, "in", "left"), "what could not be taken stays")
}

func TestPassesEnv(t *testing.T) {
	s := step.Step{PassEnv: []string{"AWS_*", "TF_CLI_CONFIG_FILE"}}
	for variable, want := range map[string]bool{
		"AWS_REGION": true, "AWS_": true, "TF_CLI_CONFIG_FILE": true,
		"AWS": false, "TF_CLI_CONFIG_FILE_2": false, "HOME": false, "MY_AWS_KEY": false,
	} {
		require.Equal(t, want, s.PassesEnv(variable), variable)
	}
	require.False(t, step.Step{}.PassesEnv("PATH"))
}

func TestFilter(t *testing.T) {
	for _, tt := range []struct{ parts, include, exclude []string }{
		{nil, nil, nil},
		{[]string{"apps/api/", ".golangci.*"}, []string{"apps/api", ".golangci.*"}, nil},
		{[]string{"."}, nil, []string{".git"}},
		{[]string{"apps", "./"}, nil, []string{".git"}},
	} {
		include, exclude := step.Step{Include: tt.parts}.Filter()
		require.Equal(t, tt.include, include, tt.parts)
		require.Equal(t, tt.exclude, exclude, tt.parts)
	}
}
