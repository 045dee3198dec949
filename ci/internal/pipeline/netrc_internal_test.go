package pipeline

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

// TestNetrc checks that git finds the logins of a netrc file, and that configuration in
// the environment stays.
func TestNetrc(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a netrc")
	require.NoError(t, os.WriteFile(file, []byte("machine a.example.com login first password one\nmachine b.example.com\n  login second\n  password t=w$o'\ndefault login other password three\n"), 0o600))
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "user.name")
	t.Setenv("GIT_CONFIG_VALUE_0", "kept")
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_SYSTEM", os.DevNull)
	environment := Pipeline{Netrc: file}.hostEnvironment(map[string]string{"OTHER": "1"})
	require.Equal(t, file, environment["NETRC"])
	require.Equal(t, "1", environment["OTHER"])
	git := func(stdin string, args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin, cmd.Env = t.TempDir(), strings.NewReader(stdin), os.Environ()
		for name, value := range environment {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	for host, want := range map[string]string{
		"a.example.com": "username=first\npassword=one\n", "b.example.com": "username=second\npassword=t=w$o'\n", "c.example.com": "username=other\npassword=three\n",
	} {
		require.Contains(t, git("protocol=https\nhost="+host+"\n\n", "credential", "fill"), want)
	}
	require.Equal(t, "kept\n", git("", "config", "user.name"))
	require.Equal(t, map[string]string{"A": "1"}, Pipeline{}.hostEnvironment(map[string]string{"A": "1"}))

	tree := source.Tree{Dir: t.TempDir()}
	out := t.TempDir()
	_, err := Pipeline{Netrc: file}.exec(tree, nil).Run(t.Context(), step.Step{Name: "go", Args: []string{"sh", "-c", `echo "$NETRC"`}, Stdout: "netrc"}, out)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(out, "netrc"))
	require.NoError(t, err)
	require.Equal(t, file+"\n", string(got))
}
