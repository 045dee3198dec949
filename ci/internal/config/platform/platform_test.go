package platform_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

const valid = `{"services": {
  "web": {"path": "web", "kind": "nginx", "port": 8080, "health_path": "/healthz", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 2},
  "api": {"path": "apps/api", "kind": "go", "port": 8000, "health_path": "/health", "routes": ["/api", "/api/*"], "cpu": 512, "memory": 1024, "desired_count": 1}
}}`

func TestParse(t *testing.T) {
	p, err := platform.Parse([]byte(valid))
	require.NoError(t, err)
	require.Equal(t, []string{"api", "web"}, p.Names(), "sorted by name")

	api := p.Services[0]
	require.Equal(t, platform.Service{
		Name: "api", Build: platform.Build{Path: "apps/api", Kind: platform.Go}, Port: 8000, HealthPath: "/health",
		Routes: []string{"/api", "/api/*"}, CPU: 512, Memory: 1024, DesiredCount: 1,
	}, api)
	require.Equal(t, "ecs-api-service", api.ServiceName())
	require.Equal(t, "ecs-api-task", api.Family())
	require.Equal(t, "api", api.ContainerName())
	require.Equal(t, "ecs-microservices-api", api.Repository())
	require.Equal(t, "/ecs/ecs-api", api.LogGroup())
	require.Equal(t, "ecs-api-tg", api.TargetGroup())
	require.Equal(t, "ecs-api-t2", api.AlternateTargetGroup())
	require.Equal(t, "ecs-ecs-infrastructure-role", api.InfrastructureRole())
	require.False(t, api.CatchAll())
	require.True(t, p.Services[1].CatchAll())
}

func TestParseErrors(t *testing.T) {
	tests := map[string]struct {
		replace, by string
		want        string
	}{
		"not JSON":            {`"path": "web",`, `"path": "web"`, "line 2 is not JSON"},
		"wrong type":          {`"port": 8080`, `"port": "8080"`, `service "web": port must be a whole number, not string`},
		"unknown field":       {`"port": 8080`, `"prot": 8080`, `service "web": unknown field "prot": did you mean "port"?`},
		"no services":         {valid, `{"services": {}}`, `"services" is empty: add at least one entry`},
		"not an object":       {valid, `[]`, "the document must be an object, not array"},
		"services no object":  {valid, `{"services": []}`, `"services": the document must be an object, not array`},
		"a field twice":       {`"cpu":`, `"cpu": 512, "cpu":`, `"cpu" is given twice: remove one`},
		"the same name twice": {`"api":`, `"web":`, `service "web" is defined twice: rename one of them`},
		"routes no list":      {`["/*"]`, `"/*"`, `service "web": routes must be a list, not string`},
		"path no string":      {`"path": "web"`, `"path": 1`, `service "web": path must be a string, not number`},
		"order of routes":     {`["/api", "/api/*"]`, `["/api/v1/x", "/v2/*"], "strategy": {"type": "canary"}}, "b": {"path": "b", "kind": "go", "port": 8000, "health_path": "/b", "routes": ["/api/*"]`, `service "api": strategy "canary" puts all its routes in one listener rule, so that "/api/v1/x" would not come before "/api/*" of service "b": use other routes, or type "rolling"`},
		"order of wildcards":  {`["/api", "/api/*"]`, `["/api/v1/*", "/v2/*"], "strategy": {"type": "linear"}}, "b": {"path": "b", "kind": "go", "port": 8000, "health_path": "/b", "routes": ["/api/*"]`, `"/api/v1/*" would not come before "/api/*" of service "b"`},
		"order of catch-alls": {`["/*"]`, `["/*", "/app/*"], "strategy": {"type": "blue_green"}}, "b": {"path": "b", "kind": "go", "port": 8000, "health_path": "/b", "routes": ["/a*"]`, `"/app/*" would not come before "/a*" of service "b"`},
		"two routes alike":    {`["/*"]`, `["/api"]`, `services "api" and "web" both have route "/api"`},
		"bad name":            {`"web":`, `"Web":`, `service "Web": the name must be`},
		"path leaves":         {`"path": "web"`, `"path": "../web"`, `path "../web" must name a folder inside`},
		"absolute path":       {`"path": "web"`, `"path": "/web"`, `path "/web" must name a folder inside`},
		"unknown kind":        {`"nginx"`, `"python"`, `kind "python" must be one of go, nginx, dockerfile, image`},
		"privileged port":     {`8080`, `80`, "port 80 must be between 1024 and 65535"},
		"health path":         {`"/healthz"`, `"healthz"`, `health_path "healthz" must begin`},
		"no routes":           {`["/*"]`, `[]`, "routes is empty"},
		"route without slash": {`["/*"]`, `["*"]`, `route "*" must begin`},
		"cpu":                 {`"cpu": 256`, `"cpu": 300`, "cpu 300 is not a Fargate size: want one of [256 512"},
		"memory":              {`"memory": 512`, `"memory": 1536`, "memory 1536 is not available with cpu 256: want one of [512 1024 2048]"},
		"count":               {`"desired_count": 2`, `"desired_count": -1`, "desired_count -1 must be"},
		"no such time zone":   {`"api": {`, `"job": {"path": "job", "kind": "go", "cpu": 256, "memory": 512, "schedule": "rate(1 day)", "schedule_timezone": "Europe/Berln"}, "api": {`, `service "job": schedule_timezone "Europe/Berln" is no time zone: write it like "Europe/Berlin"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, valid, tt.replace)
			_, err := platform.Parse([]byte(strings.Replace(valid, tt.replace, tt.by, 1)))
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
}

// TestEntries checks the optional fields. The test of Terraform's rules reads the same
// table, which is there so that it does not run again after every change of the pipeline.
func TestEntries(t *testing.T) {
	data, err := os.ReadFile("../../../test/terraform/testdata/entries.json")
	require.NoError(t, err)
	var entries []struct {
		Name   string
		Change map[string]any
		Error  string
	}
	require.NoError(t, json.Unmarshal(data, &entries))
	for _, tt := range entries {
		t.Run(tt.Name, func(t *testing.T) {
			entry := map[string]any{
				"path": "web", "kind": "go", "port": 8000, "health_path": "/health", "routes": []string{"/*"},
				"cpu": 256, "memory": 512, "desired_count": 1,
			}
			maps.Copy(entry, tt.Change)
			file, err := json.Marshal(map[string]any{"services": map[string]any{tt.Name: entry}})
			require.NoError(t, err)
			p, err := platform.Parse(file)
			if tt.Error == "" {
				require.NoError(t, err)
				requireEncodes(t, p)
				return
			}
			require.ErrorContains(t, err, tt.Error)
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
}

// requireEncodes requires that entries are the same after they were encoded and parsed.
func requireEncodes(t *testing.T, p platform.Platform) {
	t.Helper()
	again, err := platform.Parse(platform.Encode(p.Services))
	require.NoError(t, err)
	require.Equal(t, p, again)
}

// TestExampleEncodes encodes entries that share images.
func TestExampleEncodes(t *testing.T) {
	p, err := platform.Read(sourcetest.Repository("examples", "shop"))
	require.NoError(t, err)
	requireEncodes(t, p)
}

// worker returns a services file of two entries: one of valid and one with fields changed.
func worker(t *testing.T, fields string) []byte {
	t.Helper()
	entry := `{"path": "apps/api", "kind": "go", "cpu": 256, "memory": 512, "desired_count": 1`
	if fields != "" {
		entry += ", " + fields
	}
	return []byte(strings.Replace(valid, `"web":`, `"worker": `+entry+`}, "web":`, 1))
}

func TestSharedImage(t *testing.T) {
	tests := map[string]struct{ fields, want string }{
		"same build":      {"", "ecs-microservices-api"},
		"default main":    {`"main": "./cmd/server"`, "ecs-microservices-api"},
		"another main":    {`"main": "./cmd/worker"`, "ecs-microservices-worker"},
		"own repository":  {`"repository": "team/worker"`, "team/worker"},
		"another command": {`"command": ["work"]`, "ecs-microservices-api"},
		"other files":     {`"files": ["a"]`, "ecs-microservices-worker"},
		"empty fields":    {`"build_tags": [], "files": [], "build_args": {}, "build_secrets": []`, "ecs-microservices-api"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := platform.Parse(worker(t, tt.fields))
			require.NoError(t, err)
			require.Equal(t, []string{"api", "web", "worker"}, p.Names())
			require.Equal(t, tt.want, p.Services[2].Repository())
			require.False(t, p.Services[2].IsWeb())
			require.False(t, p.Services[2].HasHealthCheck())
		})
	}
}

func TestNamesAreUnique(t *testing.T) {
	for fields, want := range map[string]string{
		`"family": "ecs-api-task"`:                                  `services "api" and "worker" both have family "ecs-api-task"`,
		`"service": "ecs-api-service"`:                              `services "api" and "worker" both have service "ecs-api-service"`,
		`"main": "./worker", "repository": "ecs-microservices-web"`: `services "web" and "worker" both have repository "ecs-microservices-web" for different images`,
		`"secrets": {"A": "arn:aws:ssm:eu-west-1:000000000000:parameter/a", "B": "arn:aws:ssm:us-east-1:000000000000:parameter/b"}`: `secrets are in regions eu-west-1 (A of service "worker") and us-east-1 (B of service "worker"): ECS reads only`,
	} {
		_, err := platform.Parse(worker(t, fields))
		require.ErrorContains(t, err, want)
	}
	p, err := platform.Parse(worker(t, `"service": "ecs-api-service", "cluster": "other"`))
	require.NoError(t, err)
	require.Equal(t, "other", p.Services[2].ClusterName())
}

func TestDesiredCount(t *testing.T) {
	for fields, want := range map[string]int{
		`"schedule": ""`: 1, `"desired_count": null`: 1, `"desired_count": 0`: 0, `"desired_count": 3`: 3, `"schedule": "rate(1 day)"`: 0,
	} {
		p, err := platform.Parse([]byte(`{"services": {"worker": {"path": "a", "kind": "go", "cpu": 256, "memory": 512, ` + fields + `}}}`))
		require.NoError(t, err)
		require.Equal(t, want, p.Services[0].DesiredCount, fields)
	}
}

func TestSecretPartition(t *testing.T) {
	for arn, want := range map[string]string{
		"arn:aws-cn:ssm:cn-north-1:000000000000:parameter/key":         "",
		"arn:aws-us-gov:ssm:us-gov-west-1:000000000000:parameter/key":  "",
		"arn:aws-iso-b:ssm:us-isob-east-1:000000000000:parameter/key":  "",
		"arn:aws-eusc:ssm:eusc-de-east-1:000000000000:parameter/key":   "",
		"arn:aws-us-gov:ssm:cn-north-1:000000000000:parameter/key":     "secret KEY is in partition aws-us-gov, but region cn-north-1 is in aws-cn: correct the ARN",
		"arn:aws:secretsmanager:us-iso-east-1:000000000000:secret:key": "secret KEY is in partition aws, but region us-iso-east-1 is in aws-iso: correct the ARN",
	} {
		_, err := platform.Parse(worker(t, `"secrets": {"KEY": "`+arn+`"}`))
		if want == "" {
			require.NoError(t, err, arn)
			continue
		}
		require.ErrorContains(t, err, want)
	}
}

func TestCheckRegion(t *testing.T) {
	p, err := platform.Parse(worker(t, `"secrets": {"A": "arn:aws:secretsmanager:us-east-1:000000000000:secret:a-AbCdEf:key::"}`))
	require.NoError(t, err)
	require.NoError(t, p.CheckRegion("us-east-1"))
	require.EqualError(t, p.CheckRegion("eu-west-1"), `service "worker": secret A is in region us-east-1, and the service in eu-west-1: use a secret of the same region`)
}

func TestParseReportsAllErrors(t *testing.T) {
	_, err := platform.Parse([]byte(strings.NewReplacer(`8080`, `80`, `"/health"`, `"x"`).Replace(valid)))
	require.ErrorContains(t, err, "port 80")
	require.ErrorContains(t, err, `health_path "x"`)
}

func TestParseIgnoresOtherVariables(t *testing.T) {
	_, err := platform.Parse([]byte(strings.Replace(valid, "{", `{"region": "eu-central-1", `, 1)))
	require.NoError(t, err)
}

// tree writes a source tree with the services file and the given files.
func tree(t *testing.T, services string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	if services != "" {
		write(platform.ServicesFile, services)
	}
	for _, name := range files {
		write(name, "")
	}
	return dir
}

func TestLoad(t *testing.T) {
	tests := map[string]struct {
		services string
		files    []string
		want     string
	}{
		"complete":          {valid, []string{"web/site/index.html", "apps/api/go.mod"}, ""},
		"no file":           {"", nil, "no services file at"},
		"invalid":           {"{", nil, platform.ServicesFile + ": line 1 is not JSON"},
		"folder missing":    {valid, []string{"web/site/index.html"}, `service "api": folder apps/api does not exist`},
		"go without go.mod": {valid, []string{"web/site/index.html", "apps/api/main.go"}, `service "api": apps/api has no go.mod`},
		"a folder as Dockerfile": {
			`{"services": {"app": {"path": "app", "kind": "dockerfile", "dockerfile": "docker", "cpu": 256, "memory": 512, "desired_count": 1}}}`,
			[]string{"app/docker/Dockerfile"},
			`service "app": dockerfile app/docker is a folder: name the file in it`,
		},
		"nginx without site": {valid, []string{"web/page.html", "apps/api/go.mod"}, `service "web": web has no site`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := platform.Load(tree(t, tt.services, tt.files...))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}

func TestSelect(t *testing.T) {
	p, err := platform.Parse([]byte(valid))
	require.NoError(t, err)

	tests := map[string]struct {
		names []string
		want  []string
		err   string
	}{
		"none means all":  {nil, []string{"api", "web"}, ""},
		"one":             {[]string{"web"}, []string{"web"}, ""},
		"twice":           {[]string{"web", "api", "web"}, []string{"api", "web"}, ""},
		"a slip":          {[]string{"wbe"}, nil, `no service "wbe" in terraform/services.auto.tfvars.json: did you mean "web"?`},
		"a beginning":     {[]string{"a"}, nil, `did you mean "api"?`},
		"something else":  {[]string{"database"}, nil, "it has api, web"},
		"an empty string": {[]string{""}, nil, "it has api, web"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			selected, err := p.Select(tt.names...)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.Equal(t, outcome.Usage, outcome.Of(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, platform.Platform{Services: selected}.Names())
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte(`{"services":{"a":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := platform.Parse(data)
		if err == nil {
			require.NotEmpty(t, p.Services)
		}
	})
}

func TestStrategy(t *testing.T) {
	type strategy = platform.Strategy
	none, one := 0, 1
	for name, tt := range map[string]struct {
		strategy       *strategy
		shares         []float64
		stepBake, bake time.Duration
	}{
		"none":            {nil, nil, 0, 0},
		"rolling":         {&strategy{Type: platform.Rolling}, nil, 0, 0},
		"blue/green":      {&strategy{Type: platform.BlueGreen}, []float64{100}, 0, 5 * time.Minute},
		"canary":          {&strategy{Type: platform.Canary}, []float64{5, 100}, 10 * time.Minute, 5 * time.Minute},
		"canary of all":   {&strategy{Type: platform.Canary, Percent: 100}, []float64{100}, 10 * time.Minute, 5 * time.Minute},
		"canary, no bake": {&strategy{Type: platform.Canary, Percent: 0.1, StepBake: &none, Bake: &one}, []float64{0.1, 100}, 0, time.Minute},
		"linear":          {&strategy{Type: platform.Linear}, []float64{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 6 * time.Minute, 5 * time.Minute},
		"linear, uneven":  {&strategy{Type: platform.Linear, Percent: 33.3, StepBake: &one, Bake: &none}, []float64{33.3, 66.6, 99.9, 100}, time.Minute, 0},
	} {
		require.Equal(t, tt.shares, tt.strategy.Shares(), name)
		require.Equal(t, tt.shares != nil, tt.strategy.Progressive(), name)
		require.Equal(t, tt.shares != nil, platform.Service{Port: 1, Strategy: tt.strategy}.ShiftsTraffic(), name)
		require.False(t, platform.Service{Strategy: tt.strategy}.ShiftsTraffic(), "a worker")
		require.Equal(t, []time.Duration{tt.stepBake, tt.bake}, []time.Duration{tt.strategy.StepBakeTime(), tt.strategy.BakeTime()}, name)
	}
}
