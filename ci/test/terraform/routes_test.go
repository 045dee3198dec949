package terraform_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/test/infratest"
)

// TestRoutePriorities evaluates Terraform's expressions for the priorities of listener
// rules. The pipeline must compute the same numbers.
func TestRoutePriorities(t *testing.T) {
	t.Parallel()
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("needs terraform: https://developer.hashicorp.com/terraform/install")
	}
	source, err := fs.ReadFile(infratest.Source(), "modules/platform/services/routes.tf")
	require.NoError(t, err)
	services, want := map[string]any{}, map[string]int{}
	add := func(name string, strategy *platform.Strategy, routes ...string) {
		services[name] = map[string]any{"port": 8000, "routes": routes, "strategy": strategy}
		service := platform.Service{Port: 8000, Routes: routes, Strategy: strategy}
		for _, route := range routes {
			if strategy != nil || route != platform.CatchAll { // else the listener's default action
				want[route] = service.RulePriority(route)
			}
		}
	}
	add("plain", nil, "/api", "/api/*", "/api/*/b", "/api/long-name-*", "/a/b/c/d/e/f/g/h/i/*", "/?ealth", "/*.png", "/health", "/*")
	add("one", &platform.Strategy{Type: platform.BlueGreen}, "/one")
	add("many", &platform.Strategy{Type: platform.Canary}, "/many/*", "/many", "/m/a/*", "/?any")
	add("last", &platform.Strategy{Type: platform.Linear}, "/last/*", "/*")
	variable, err := json.Marshal(map[string]any{"variable": map[string]any{"services": map[string]any{"default": services}}})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "variables.tf.json"), variable, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "routes.tf"), source, 0o600))
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
