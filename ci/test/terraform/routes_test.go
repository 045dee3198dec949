package terraform_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/infratest"
)

// TestRoutePriorities evaluates Terraform's expressions for the priorities of listener
// rules. The pipeline must compute the same numbers.
func TestRoutePriorities(t *testing.T) {
	t.Parallel()
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("needs terraform: https://developer.hashicorp.com/terraform/install")
	}
	source, err := fs.ReadFile(infratest.Source(), "locals.tf")
	require.NoError(t, err)
	expressions := regexp.MustCompile(`(?m)^  route_(?:class|priority)\s*=.*$`).FindAllString(string(source), -1)
	require.Len(t, expressions, 2)
	want := map[string]int{}
	for _, route := range []string{"/api", "/api/*", "/api/*/b", "/api/long-name-*", "/a/b/c/d/e/f/g/h/i/*", "/?ealth", "/*.png", "/health"} {
		want[route] = platform.RoutePriority(route)
	}
	rules, err := json.Marshal(want)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.tf"),
		[]byte("locals {\n  rules = "+string(rules)+"\n"+strings.Join(expressions, "\n")+"\n}\n"), 0o600))
	console := exec.CommandContext(t.Context(), terraform, "-chdir="+dir, "console")
	console.Stdin = strings.NewReader("jsonencode(local.route_priority)\n")
	out, err := console.Output()
	require.NoError(t, err, string(out))
	var quoted string
	require.NoError(t, json.Unmarshal(out, &quoted), string(out))
	var got map[string]int
	require.NoError(t, json.Unmarshal([]byte(quoted), &got))
	require.Equal(t, want, got)
}
