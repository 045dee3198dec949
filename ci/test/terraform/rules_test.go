package terraform_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/infratest"
)

// entry returns a valid entry of the services file with fields replaced, and those
// removed that are null. Each has its own route, so that several can be in one file.
func entry(n int, change map[string]any) map[string]any {
	e := map[string]any{
		"path": "web", "kind": "go", "port": 8000, "health_path": "/health", "routes": []string{fmt.Sprintf("/r%d/*", n)},
		"cpu": 256, "memory": 512, "desired_count": 1,
	}
	maps.Copy(e, change)
	maps.DeleteFunc(e, func(_ string, value any) bool { return value == nil })
	return e
}

// sidecar returns a valid sidecar with dependencies.
func sidecar(dependsOn map[string]any) map[string]any {
	return map[string]any{"image": "collector@sha256:" + strings.Repeat("0", 64), "depends_on": dependsOn}
}

// chain returns n sidecars of which each depends on the next, and the last on a
// container, if any is given.
func chain(n int, last string) map[string]any {
	all := map[string]any{}
	for i := range n {
		on := map[string]any{fmt.Sprintf("s%d", i+2): "START"}
		if i == n-1 {
			if on = nil; last != "" {
				on = map[string]any{last: "START"}
			}
		}
		all[fmt.Sprintf("s%d", i+1)] = sidecar(on)
	}
	return all
}

// entries returns the changes in testdata/entries.json, by name, and the texts that their messages
// contain. The tests of package platform read the same table.
func entries(t *testing.T) (changes map[string]map[string]any, messages []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/entries.json")
	require.NoError(t, err)
	var table []struct {
		Name   string
		Change map[string]any
		Error  string
	}
	require.NoError(t, json.Unmarshal(data, &table))
	require.Greater(t, len(table), 40)
	changes = map[string]map[string]any{}
	for _, e := range table {
		changes[e.Name] = e.Change
		messages = append(messages, e.Error)
	}
	require.Len(t, changes, len(table), "two entries have one name")
	return changes, messages
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
		"dockerfile-up": {"kind": "dockerfile", "path": "apps/web", "dockerfile": "../Dockerfile"}, "dockerfile-abs": {"kind": "dockerfile", "dockerfile": "/Dockerfile"},
		"dockerfile-and-back": {"kind": "dockerfile", "dockerfile": "../../web/Dockerfile"}, "dockerfile-inside": {"kind": "dockerfile", "dockerfile": "a/../Dockerfile"},
		"main-root": {"main": "."}, "main-inside": {"main": "./cmd/../../x"}, "main-slash": {"main": "./cmd/"}, "main-deep": {"main": "./cmd/..api"},
		"depends-itself":     {"depends_on": map[string]any{"depends-itself": "START"}},
		"depends-nine":       {"sidecars": chain(9, "depends-nine"), "depends_on": map[string]any{"s1": "START"}},
		"depends-chain":      {"sidecars": chain(9, ""), "depends_on": map[string]any{"s1": "START"}},
		"sidecars-ten":       {"sidecars": chain(10, "")},
		"none-waited-for":    {"health_check": map[string]any{"command": []string{"NONE"}}, "sidecars": map[string]any{"a": sidecar(map[string]any{"none-waited-for": "HEALTHY"})}},
		"main-waited-for":    {"sidecars": map[string]any{"a": sidecar(map[string]any{"main-waited-for": "HEALTHY"})}},
		"main-by-name":       {"container": "app", "sidecars": map[string]any{"a": sidecar(map[string]any{"app": "START"})}},
		"main-by-entry":      {"container": "app", "sidecars": map[string]any{"a": sidecar(map[string]any{"main-by-entry": "START"})}},
		"health-path-worker": {"kind": "nginx", "port": nil, "health_path": nil, "routes": nil, "health_check": map[string]any{"path": "/health"}},
		"health-path-nginx":  {"kind": "nginx", "health_check": map[string]any{"path": "/health"}}, "health-empty": {"health_check": map[string]any{}},
		"health-cmd-alone": {"health_check": map[string]any{"command": []string{"CMD"}}},
		"mount-root":       {"volumes": map[string]any{"a": map[string]any{"mount_path": "/"}}}, "mount-slash": {"volumes": map[string]any{"a": map[string]any{"mount_path": "/a/"}}},
		"mount-up":   {"volumes": map[string]any{"a": map[string]any{"mount_path": "/a/../b"}}},
		"tmpfs-much": {"volumes": map[string]any{"a": map[string]any{"mount_path": "/a", "tmpfs_size": 1024}}},
		"min-most":   {"min_count": 1, "max_count": 1}, "task-cpu": {"release_task": map[string]any{"command": []string{"x"}, "cpu": 1024}},
		"grace-negative": {"grace_period": -1}, "stop-least": {"stop_timeout": 2}, "spot-all": {"spot": 100}, "port-docker": {"kind": "dockerfile", "port": 1},
		"job-scaling":         {"port": nil, "health_path": nil, "routes": nil, "desired_count": nil, "schedule": "rate(1 day)", "scaling": map[string]any{"cpu": 50}},
		"permission-odd-star": {"permissions": []any{map[string]any{"actions": []string{"s3:Get*"}, "resources": []string{"arn:aws:s3:::shop*"}}}},
		"cluster-odd":         {"cluster": "a b"}, "repository-short": {"repository": "a"},
	}
	// Overrides of an environment, by entry. Its prefix leaves room for shorter names.
	const prefix = "stge"
	secret, variable := map[string]any{"secrets": map[string]any{"KEY": "key"}}, map[string]any{"environment": map[string]any{"KEY": "x"}}
	overrides := map[string]map[string]any{
		"over-cpu": {"cpu": 300}, "over-memory": {"memory": 8192}, "over-size": {"cpu": 1024, "memory": 8192}, "over-spot": {"spot": 101},
		"over-min": {"min_count": 2}, "over-count": {"desired_count": 0, "min_count": 0, "max_count": 1}, "over-max": {"desired_count": 3},
		"over-scaling": {"scaling": map[string]any{"cpu": 101}}, "over-scaled": {"scaling": map[string]any{"memory": 50}},
		"over-secret": secret, "over-variable": variable, "over-both": merge(secret, variable), "over-reserved": {"environment": map[string]any{"VERSION": "x"}},
		"over-name": {"environment": map[string]any{"a-b": "x"}}, "over-arn": {"secrets": map[string]any{"KEY": "arn:aws:s3:::a"}}, "over-nothing": {},
		"over-strategy": {"strategy": map[string]any{"type": "canary", "percent": 101}}, "over-canary": {"strategy": map[string]any{"type": "canary"}},
	}
	for name := range overrides {
		cases[name] = map[string]any{}
	}
	cases["over-max"] = map[string]any{"max_count": 2}
	cases["over-secret"], cases["over-variable"] = variable, secret
	environment, err := json.Marshal(map[string]any{"environment": "staging", "name_prefix": prefix, "service_overrides": overrides})
	require.NoError(t, err)
	dir := t.TempDir()
	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/staging.tfvars.json", string(environment))
	staging, err := platform.SelectEnvironment(dir, "staging")
	require.NoError(t, err)

	changes, messages := entries(t)
	for name, change := range changes {
		require.NotContains(t, cases, name)
		cases[name] = change
	}
	names := slices.Sorted(maps.Keys(cases))
	all := map[string]any{}
	want := map[string]string{} // the pipeline's message, by rejected service
	for n, name := range names {
		all[name] = entry(n, cases[name])
		p, err := platform.Parse(file(t, map[string]any{name: all[name]}))
		if err == nil {
			one := staging
			one.Overrides = maps.Clone(staging.Overrides)
			maps.DeleteFunc(one.Overrides, func(service string, _ platform.Override) bool { return service != name })
			_, err = p.In(one)
		}
		if err != nil {
			want[name] = err.Error()
		}
	}

	// What must be unique.
	route := map[string]any{"routes": []string{"/one/*"}}
	job := map[string]any{"port": nil, "health_path": nil, "routes": nil, "desired_count": nil, "schedule": "rate(1 day)", "service": "nightly"}
	twins := []struct {
		one, three map[string]any
		both       string // what both have
	}{
		{route, route, `route "/one/*"`},
		{map[string]any{"family": "one"}, map[string]any{"family": "one"}, `family "one"`},
		{map[string]any{"service": "one"}, map[string]any{"service": "one"}, `service "one"`},
		{job, job, `service "nightly"`},
		{map[string]any{"repository": "one"}, map[string]any{"repository": "one", "path": "other"}, `repository "one"`},
	}
	both := map[string]string{} // the beginning of the message, by twins
	for n, twin := range twins {
		pair := map[string]any{fmt.Sprintf("one%d", n): entry(900+n, twin.one), fmt.Sprintf("three%d", n): entry(950+n, twin.three)}
		_, err := platform.Parse(file(t, pair))
		both[twin.both] = fmt.Sprintf("services \"one%d\" and \"three%[1]d\" both have %s", n, twin.both)
		require.ErrorContains(t, err, both[twin.both])
		maps.Copy(all, pair)
	}

	// Routes of a service with one rule, which may not come after the route of another.
	orders := []struct {
		kind    platform.StrategyType
		routes  [2]string
		other   string
		refused bool
	}{
		{platform.Canary, [2]string{"/order/1/x", "/order0/*"}, "/order/?/*", true},
		{platform.Linear, [2]string{"/depth/1/*", "/order1/*"}, "/depth/*", true},
		{platform.BlueGreen, [2]string{"/rest/*", "/*"}, "/res*", true},
		{platform.Canary, [2]string{"/apart/x", "/apart/*"}, "/apart/a/*", false}, // the other is deeper
		{platform.Canary, [2]string{"/dotsx/a", "/order4/*"}, "/dots./*", false},  // a dot is a dot
		{platform.Canary, [2]string{"/end/1/a", "/order5/*"}, "/end/*/b", false},
		{platform.Rolling, [2]string{"/roll/1/x", "/order6/*"}, "/roll/?/*", false},
	}
	outOfOrder := map[int]string{} // messages
	for n, o := range orders {
		pair := map[string]any{
			fmt.Sprintf("first%d", n):  entry(800+n, map[string]any{"routes": o.routes, "strategy": map[string]any{"type": o.kind}}),
			fmt.Sprintf("second%d", n): entry(850+n, map[string]any{"routes": []string{o.other}}),
		}
		if _, err := platform.Parse(file(t, pair)); err != nil {
			outOfOrder[n] = err.Error()
			require.Contains(t, outOfOrder[n], "puts all its routes in one listener rule")
		}
		require.Equal(t, o.refused, outOfOrder[n] != "", o.routes)
		maps.Copy(all, pair)
	}

	w := infratest.New(t, ".")
	w.Write("services.auto.tfvars.json", string(file(t, all)))
	w.Write("staging.auto.tfvars.json", `{"settings": `+string(environment)+`}`)
	w.Offline()
	w.Init()
	said := strings.Join(strings.Fields(strings.ReplaceAll(w.Fail("plan", "-json"), `\"`, `"`)), " ")
	for _, message := range slices.Concat(messages, slices.Collect(maps.Values(both))) {
		require.Contains(t, said, message)
	}
	for n := range orders {
		require.Equal(t, outOfOrder[n] != "", strings.Contains(said, fmt.Sprintf(`service "first%d":`, n)))
		require.Contains(t, said, outOfOrder[n])
	}
	for _, name := range names {
		mentioned := strings.Contains(said, fmt.Sprintf(`service "%s":`, name))
		require.Equal(t, want[name] != "", mentioned, "Terraform and the pipeline disagree about %q; the pipeline says: %s", name, want[name])
	}
	require.ElementsMatch(t, []string{"over-arn", "over-both", "over-cpu", "over-max", "over-memory", "over-min", "over-name", "over-reserved", "over-scaling", "over-spot", "over-strategy"},
		slices.DeleteFunc(slices.Collect(maps.Keys(want)), func(name string) bool { return overrides[name] == nil }))
	for _, mend := range []string{
		`service "a123456789b123456789c1234": name_prefix "stge" is too long: stge-a123456789b123456789c1234-tg has more than 32 characters`,
		`service "cpu-odd": cpu 300 is not a Fargate size: want one of`, `service "memory-odd": memory 1536 is not available with cpu 256: want one of 512, 1024, 2048`,
		`service "routes-none": routes is empty: name at least one path pattern, such as "/routes-none/*"`, `service "kind-unknown": kind "python" must be one of go, nginx, dockerfile, image`,
	} {
		require.Contains(t, said, mend)
	}
}

// TestNamesAgree compares the names that Terraform derives from a services file with the
// pipeline's.
func TestNamesAgree(t *testing.T) {
	t.Parallel()
	job := map[string]any{"port": nil, "health_path": nil, "routes": nil, "desired_count": nil, "schedule": "rate(1 day)"}
	docker := func(path, dockerfile string) map[string]any {
		return map[string]any{"kind": "dockerfile", "path": path, "dockerfile": dockerfile}
	}
	all := map[string]any{
		"uncounted": entry(19, map[string]any{"desired_count": nil}),
		"shifted":   entry(16, map[string]any{"strategy": map[string]any{"type": "canary"}}), "rolled": entry(17, map[string]any{"strategy": map[string]any{"type": "rolling"}}),
		"shifted-worker": entry(18, map[string]any{"port": nil, "health_path": nil, "routes": nil, "strategy": map[string]any{"type": "canary"}}),
		"plain":          entry(1, map[string]any{"environment": map[string]any{"MODE": "live"}, "secrets": map[string]any{"KEY": "key", "TOKEN": "token"}}), "main": entry(2, map[string]any{"main": "./cmd/server"}), "other": entry(3, map[string]any{"main": "./cmd/other"}),
		"root": entry(4, map[string]any{"main": "."}), "empty": entry(5, map[string]any{"build_tags": []string{}, "command": []string{"work"}}),
		"tags": entry(6, map[string]any{"build_tags": []string{"netgo"}}), "job": entry(7, job),
		"named-job": entry(8, merge(job, map[string]any{"service": "nightly"})),
		"team":      entry(9, map[string]any{"service": "team-api", "family": "team_api", "container": "app", "repository": "team/api", "cluster": "team", "path": "team"}),
		"teammate":  entry(10, map[string]any{"path": "team"}),
		"docker":    entry(11, docker("apps/web", "")), "docker-name": entry(12, docker("apps/web", "./Dockerfile")), "docker-up": entry(13, docker("apps/web", "../web/Dockerfile")),
		"docker-else": entry(14, docker("apps/web", "../Dockerfile")), "image": entry(15, map[string]any{"kind": "image", "path": nil, "image": "nginx:1.29"}),
	}
	p, err := platform.Parse(file(t, all))
	require.NoError(t, err)
	names := func(p platform.Platform) map[string][]string {
		want := map[string][]string{}
		for _, s := range p.Services {
			want[s.Name] = []string{
				s.ServiceName(), s.Family(), s.ContainerName(), s.ClusterName(), s.Repository(), s.ScheduleName(), s.LogGroup(), s.TargetGroup(), fmt.Sprint(s.IsWeb(), s.IsJob(), s.HasHealthCheck()),
				s.AlternateTargetGroup(), fmt.Sprint(s.ShiftsTraffic()),
				fmt.Sprint(s.CPU, s.DesiredCount), fmt.Sprint(slices.Sorted(maps.Keys(s.Environment)), slices.Sorted(maps.Keys(s.Secrets))),
			}
		}
		return want
	}

	w := infratest.New(t, "modules/platform")
	w.Write("services.auto.tfvars.json", string(file(t, all)))
	w.Init()
	const expression = `{ for name, s in local.services : name => [
		s.service, s.family, s.container, s.cluster, s.repository, s.schedule_of, s.log_group, s.target_group, "${s.web} ${s.job} ${s.health_checked}", s.alternate, tostring(s.shifts),
		"${s.cpu} ${s.desired_count}", "[${join(" ", keys(s.environment))}] [${join(" ", keys(s.secrets))}]",
	] }`
	var got map[string][]string
	w.Console(strings.Join(strings.Fields(expression), " "), &got)
	require.Equal(t, names(p), got)

	// The same in an environment.
	environment, err := json.Marshal(map[string]any{"environment": "staging", "name_prefix": "stg", "service_overrides": map[string]any{
		"plain":  map[string]any{"cpu": 512, "memory": 1024, "desired_count": 0, "environment": map[string]any{"KEY": "x", "MORE": "x"}, "secrets": map[string]any{"MODE": "mode"}},
		"root":   map[string]any{"secrets": map[string]any{"KEY": "key"}},
		"rolled": map[string]any{"strategy": map[string]any{"type": "blue_green"}}, "shifted": map[string]any{"strategy": map[string]any{"type": "rolling"}},
	}})
	require.NoError(t, err)
	dir := t.TempDir()
	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/staging.tfvars.json", string(environment))
	staging, err := platform.SelectEnvironment(dir, "")
	require.NoError(t, err)
	p, err = p.In(staging)
	require.NoError(t, err)
	w.Write("staging.auto.tfvars.json", string(environment))
	w.Console(strings.Join(strings.Fields(expression), " "), &got)
	require.Equal(t, names(p), got)
	require.Equal(t, []string{"512 0", "[KEY MORE] [MODE TOKEN]"}, got["plain"][11:])
}

func merge(all ...map[string]any) map[string]any {
	merged := map[string]any{}
	for _, fields := range all {
		maps.Copy(merged, fields)
	}
	return merged
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
