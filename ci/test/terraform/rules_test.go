package terraform_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/infratest"
)

// entry returns a valid entry of the services file with fields replaced. Each has its
// own port and route, so that several can be in one file.
func entry(n int, change map[string]any) map[string]any {
	e := map[string]any{
		"path": "web", "kind": "go", "port": 9000 + n, "health_path": "/health", "routes": []string{fmt.Sprintf("/r%d/*", n)},
		"cpu": 256, "memory": 512, "desired_count": 1,
	}
	maps.Copy(e, change)
	return e
}

// TestRulesAgree compares Terraform's rules for the services file with the pipeline's:
// both must reject the same entries by name. Terraform runs once for all entries,
// because it reports every invalid one.
func TestRulesAgree(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("a", 128)
	cases := map[string]map[string]any{
		"good": {}, "a1": {}, "a123456789b123456789c1234": {},
		"Capitals": {}, "a": {}, "hyphen-": {}, "1digit": {}, "a123456789b123456789c12345": {}, "under_score": {},
		"path-absolute": {"path": "/web"}, "path-leaves": {"path": "../web"}, "path-inside": {"path": "a/../web"}, "path-dot": {"path": "./web"},
		"path-empty": {"path": ""}, "path-slash": {"path": "web/"}, "path-double": {"path": "a//web"}, "path-root": {"path": "."},
		"path-deep": {"path": "apps/web"}, "path-dots": {"path": "apps/..web"},
		"kind-unknown": {"kind": "python"}, "kind-nginx": {"kind": "nginx"},
		"port-low": {"port": 80}, "port-high": {"port": 65536}, "port-least": {"port": 1024}, "port-most": {"port": 65535},
		"health": {"health_path": "health"}, "health-root": {"health_path": "/"},
		"routes-none": {"routes": []string{}}, "routes-bare": {"routes": []string{"*"}},
		"routes-long": {"routes": []string{long}}, "routes-longest": {"routes": []string{long[:128]}},
		"cpu-odd": {"cpu": 300}, "memory-odd": {"memory": 1536}, "memory-low": {"cpu": 1024, "memory": 1024},
		"memory-16": {"cpu": 16384, "memory": 122880}, "memory-8": {"cpu": 8192, "memory": 61440}, "memory-8-odd": {"cpu": 8192, "memory": 17408},
		"count-negative": {"desired_count": -1}, "count-none": {"desired_count": 0}, "count-most": {"desired_count": 5000}, "count-over": {"desired_count": 5001},
	}
	names := slices.Sorted(maps.Keys(cases))
	all := map[string]any{}
	want := map[string]string{} // the pipeline's message, by rejected service
	for n, name := range names {
		all[name] = entry(n, cases[name])
		_, err := platform.Parse(file(t, map[string]any{name: all[name]}))
		if err != nil {
			want[name] = err.Error()
		}
	}

	// Routes must be unique.
	twins := map[string]any{
		"one": entry(98, nil), "three": entry(100, map[string]any{"routes": []string{"/r98/*"}}),
	}
	_, err := platform.Parse(file(t, twins))
	require.ErrorContains(t, err, `services "one" and "three" both have route "/r98/*"`)
	maps.Copy(all, twins)

	w := infratest.New(t, ".")
	w.Write("services.auto.tfvars.json", string(file(t, all)))
	w.Offline()
	w.Init()
	said := strings.Join(strings.Fields(strings.ReplaceAll(w.Fail("plan", "-json"), `\"`, `"`)), " ")
	for _, name := range names {
		mentioned := strings.Contains(said, fmt.Sprintf(`service "%s":`, name))
		require.Equal(t, want[name] != "", mentioned, "Terraform and the pipeline disagree about %q; the pipeline says: %s", name, want[name])
	}
	for _, mend := range []string{
		`service "cpu-odd": cpu 300 is not a Fargate size: want one of`, `service "memory-odd": memory 1536 is not available with cpu 256: want one of 512, 1024, 2048`,
		`service "routes-none": routes is empty: name at least one path pattern, such as "/routes-none/*"`, `service "kind-unknown": kind "python" must be one of go, nginx, dockerfile, image`,
		`route "/r98/*" stands at one and three: give it to one of them`,
	} {
		require.Contains(t, said, mend)
	}
}

func file(t *testing.T, services map[string]any) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"services": services})
	require.NoError(t, err)
	return data
}

// TestNoAccountIsWrittenDown forbids account numbers in the repository, so that
// using another account requires no search for them. The example's number is allowed.
func TestNoAccountIsWrittenDown(t *testing.T) {
	t.Parallel()
	account := regexp.MustCompile(`\b[0-9]{12}\b`)
	files := 0
	require.NoError(t, fs.WalkDir(infratest.Source(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(name, "tests/") || strings.HasSuffix(name, ".md") {
			return err
		}
		files++
		data, err := fs.ReadFile(infratest.Source(), name)
		require.NoError(t, err)
		for _, number := range account.FindAllString(string(data), -1) {
			require.Equal(t, infratest.Account, number, "%s names an account", name)
		}
		require.NotRegexp(t, `(?m)^\s*bucket\s*=\s*"[^"$]*"`, string(data), "%s names a bucket", name)
		return nil
	}))
	require.Greater(t, files, 30)
}
