package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }

// run runs the command and returns its exit code and output. It checks JSON output against
// its schema.
func run(t *testing.T, args ...string) (code outcome.Code, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(t.Context(), args, &out, &errs, nil)
	requireSchema(t, args, out.String())
	return code, out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help"}} {
		code, out, _ := run(t, args...)
		require.Equal(t, outcome.Done, code)
		for _, want := range []string{"rehearse", "local-aws", "3 failed and restored"} {
			require.Contains(t, out, want)
		}
	}
	for _, command := range []string{
		"test", "apply", "plan", "validate", "fmt", "build", "publish", "lock", "scan", "verify", "diff", "deploy", "promote", "status", "rollback", "run", "logs",
		"up", "rehearse", "local-aws",
	} {
		code, out, _ := run(t, command, "--help")
		require.Equal(t, outcome.Done, code)
		require.Contains(t, out, "Examples:\n  slipway "+command)
	}
}

func TestUsageErrors(t *testing.T) {
	dir := sourcetest.New(t)
	change := func(file, content string) string {
		other := sourcetest.New(t)
		sourcetest.Write(t, other, file, content)
		return other
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	tests := map[string]struct {
		args []string
		code outcome.Code
		want string
	}{
		"unknown command":            {[]string{"rehears"}, outcome.Usage, `unknown command "rehears": did you mean rehearse?`},
		"command without suggestion": {[]string{"xyzzy"}, outcome.Usage, `unknown command "xyzzy": want one of abort, apply, build, `},
		"renamed flag":               {[]string{"plan", "--lock=false"}, outcome.Usage, "unknown flag --lock: it was renamed to --state-lock"},
		"unknown flag":               {[]string{"build", "--servic", "a"}, outcome.Usage, "unknown flag --servic: did you mean --service?"},
		"flag without suggestion":    {[]string{"build", "--xyzzy"}, outcome.Usage, "unknown flag --xyzzy: want one of --help, "},
		"an argument":                {[]string{"build", "api"}, outcome.Usage, `build takes no arguments, but got "api": see slipway build --help`},
		"unknown format":             {[]string{"build", "--output", "xml"}, outcome.Usage, "want one of text, json, markdown: see slipway build --help"},
		"run without a name":         {[]string{"run", "--source", dir}, outcome.Usage, "run needs the name of a service or job"},
		"run without --":             {[]string{"run", "api", "migrate", "--source", dir}, outcome.Usage, "put the command after --, as in slipway run api -- migrate"},
		"run of two":                 {[]string{"run", "--source", dir, "api", "web", "--", "x"}, outcome.Usage, `run takes one name, but got "web"`},
		"run with an empty command":  {[]string{"run", "--source", dir, "api", "--"}, outcome.Usage, "no command after --"},
		"run of an unknown service":  {[]string{"run", "ap", "--source", dir}, outcome.Usage, `no service "ap" in terraform/services.auto.tfvars.json: did you mean "api"?`},
		"run without time":           {[]string{"run", "api", "--timeout", "0s", "--source", dir}, outcome.Usage, `invalid argument "0s" for "--timeout" flag: want a duration above 0`},
		"deploy without time":        {[]string{"deploy", "--timeout", "0", "--source", dir}, outcome.Usage, `invalid argument "0" for "--timeout" flag: want a duration above 0`},
		"restore without time":       {[]string{"rollback", "--restore-timeout", "0s", "--source", dir}, outcome.Usage, `invalid argument "0s" for "--restore-timeout" flag: want a duration above 0`},
		"logs of no time":            {[]string{"logs", "--since", "0s", "--source", dir}, outcome.Usage, `invalid argument "0s" for "--since" flag: want a duration above 0`},
		"a preview of no time":       {[]string{"preview", "up", "--ttl", "0s", "--source", dir}, outcome.Usage, `invalid argument "0s" for "--ttl" flag: want a duration above 0`},
		"run with a bad variable":    {[]string{"run", "api", "--set-env", "1A=secret", "--source", dir}, outcome.Usage, `invalid --set-env "1A": want NAME=VALUE`},
		"logs of two":                {[]string{"logs", "api", "web", "--source", dir}, outcome.Usage, "logs takes one name"},
		"logs of an unknown service": {[]string{"logs", "ap", "--source", dir}, outcome.Usage, `did you mean "api"?`},
		"following as JSON":          {[]string{"logs", "--follow", "--output", "json", "--source", dir}, outcome.Usage, "--follow shows text"},
		"bad percentage":             {[]string{"test", "--min-coverage", "lots"}, outcome.Usage, `"lots" is not a percentage`},
		"unknown service":            {[]string{"build", "--service", "ap", "--source", dir}, outcome.Usage, `no service "ap" in terraform/services.auto.tfvars.json: did you mean "api"?`},
		"bad platform":               {[]string{"build", "--platform", "amd64", "--source", dir}, outcome.Usage, `invalid platform "amd64": want linux/amd64, linux/arm64 or both`},
		"unknown scenario":           {[]string{"rehearse", "--scenario", "sunny", "--source", dir}, outcome.Usage, `invalid --scenario "sunny": want one of happy, crash`},
		"unknown check":              {[]string{"lint", "--only", "golint", "--source", dir}, outcome.Usage, `unknown check "golint": did you mean tflint?`},
		"unknown to lint":            {[]string{"lint", "--service", "ap", "--source", dir}, outcome.Usage, `no service "ap" in terraform/services.auto.tfvars.json: did you mean "api"?`},
		"unknown to fmt":             {[]string{"fmt", "--service", "ap", "--source", dir}, outcome.Usage, `no service "ap" in terraform/services.auto.tfvars.json: did you mean "api"?`},
		"fault without a pipeline":   {[]string{"rehearse", "--source", dir, "--fault-in", "staging"}, outcome.Usage, "--fault-in needs --pipeline"},
		"fault in another place":     {[]string{"rehearse", "--source", dir, "--pipeline", "--fault-in", "qa"}, outcome.Usage, `invalid --fault-in "qa": want staging or production`},
		"no soak":                    {[]string{"rehearse", "--source", dir, "--pipeline", "--soak", "0s"}, outcome.Usage, "invalid --soak 0s: want more than 0, such as 2s"},
		"no such tree":               {[]string{"rehearse", "--source", filepath.Join(dir, "nope")}, outcome.Usage, "name its root with --source"},
		"no git":                     {[]string{"test", "--source", t.TempDir()}, outcome.Usage, "is not a git work tree"},
		"no services file":           {[]string{"build", "--source", filepath.Join(dir, "api")}, outcome.Usage, "no services file at"},
		"invalid services":           {[]string{"build", "--source", change(platform.ServicesFile, "{")}, outcome.Usage, "line 1 is not JSON"},
		"no module":                  {[]string{"build", "--source", change(platform.ServicesFile, strings.Replace(sourcetest.Services, `"path": "api"`, `"path": "web"`, 1))}, outcome.Usage, "web has no go.mod"},
		"invalid lock file":          {[]string{"rehearse", "--source", change("ci/images.lock.json", "{")}, outcome.Usage, "reading ci/images.lock.json"},
		"short flag":                 {[]string{"build", "-x"}, outcome.Usage, "unknown flag -x: want one of --help, "},
		"unknown module":             {[]string{"test", "--min-coverage", "nope=5", "--source", dir}, outcome.Usage, "nope"},
		"negative timeout":           {[]string{"test", "--timeout", "-1s", "--source", dir}, outcome.Usage, "invalid --timeout -1s: want a duration above 0"},
		"no address":                 {[]string{"local-aws", "--listen", "foo"}, outcome.Usage, "--listen \"foo\": want HOST:PORT"},
		"no port":                    {[]string{"rehearse", "--listen", "127.0.0.1:99999"}, outcome.Usage, "want a port from 0 to 65535"},
		"not a loopback address":     {[]string{"local-aws", "--listen", ":4566"}, outcome.Usage, "want a loopback address, such as 127.0.0.1:4566"},
		"time scale of 0":            {[]string{"local-aws", "--time-scale", "0"}, outcome.Usage, "want a number above 0"},
		"negative latency":           {[]string{"local-aws", "--latency", "-1s"}, outcome.Usage, "invalid --latency -1s: want a duration of 0 or more"},
		"latency, no unit":           {[]string{"local-aws", "--latency", "50"}, outcome.Usage, "50"},
		"unknown fault":              {[]string{"local-aws", "--fault", "throtle"}, outcome.Usage, `invalid --fault "throtle": unknown kind "throtle": did you mean throttle?`},
		"unknown fault's key":        {[]string{"local-aws", "--fault", "lost", "--fault", "lost:acton=x"}, outcome.Usage, `unknown key "acton": did you mean action?`},
		"busy port":                  {[]string{"local-aws", "--listen", busy.Addr().String()}, outcome.Failed, busy.Addr().String() + ": bind: address already in use: choose another address with --listen"},
		"busy port, rehearse":        {[]string{"rehearse", "--skip-tests", "--source", dir, "--listen", busy.Addr().String()}, outcome.Failed, busy.Addr().String() + ": bind: address already in use"},
	}
	t.Setenv("GIT_CEILING_DIRECTORIES", os.TempDir())
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, errs := run(t, tt.args...)
			require.Equal(t, tt.code, code, errs)
			require.Empty(t, out)
			lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
			require.Contains(t, lines[len(lines)-1], "slipway: ")
			require.Contains(t, lines[len(lines)-1], tt.want)
			if tt.code == outcome.Usage {
				require.Len(t, lines, 1, "one clear line")
			}
		})
	}
}

func TestBuild(t *testing.T) {
	dir := sourcetest.New(t)
	out := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr := run(t, "build", "--source", dir, "--out", out, "--output", "json", "--platform", "linux/amd64")
	require.Equal(t, outcome.Done, code, stderr)
	var got struct {
		Images []struct {
			Service, Digest string
			Platforms       []string
			Size            int64
		}
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	require.Len(t, got.Images, 2)
	require.Equal(t, "api", got.Images[0].Service)
	require.Equal(t, []string{"linux/amd64"}, got.Images[0].Platforms)
	require.Positive(t, got.Images[0].Size)
	require.Contains(t, stderr, "web was built without its base image, for rehearsals only: base 127.0.0.1:1/nginx cannot be reached")
	for _, img := range got.Images {
		index, err := os.ReadFile(filepath.Join(out, img.Service, "index.json"))
		require.NoError(t, err)
		require.Contains(t, string(index), img.Digest)
	}

	code, markdown, _ := run(t, "build", "--source", dir, "--out", out, "--output", "markdown", "--platform", "linux/amd64", "--service", "api")
	require.Equal(t, outcome.Done, code)
	require.Contains(t, markdown, "| api | `"+got.Images[0].Digest+"` | linux/amd64 |")
	code, text, _ := run(t, "build", "--source", dir, "--out", out, "--platform", "linux/amd64", "--service", "api")
	require.Equal(t, outcome.Done, code)
	require.Contains(t, text, "api          "+got.Images[0].Digest)
}

// TestBuildFailure checks that the compiler's error is shown and nothing is written.
func TestBuildFailure(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "api/main.go", "package main\n\nfunc main() { nope() }\n")
	out := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr := run(t, "build", "--source", dir, "--out", out)
	require.Equal(t, outcome.Failed, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "main.go:3:15: undefined: nope")
	require.NoDirExists(t, out)
}

func TestTest(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "api/main_test.go", "package main\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) {}\n")
	out := filepath.Join(t.TempDir(), "out")

	code, stdout, stderr := run(t, "test", "--source", dir, "--out", out, "--min-coverage", "0")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "\n1 passed, 0 failed, 0 skipped\n")
	for _, file := range []string{"coverage.out", "coverage.html", "cobertura.xml", "junit.xml", "summary.md"} {
		require.FileExists(t, filepath.Join(out, file))
	}
	code, stdout, _ = run(t, "test", "--source", dir, "--out", out, "--output", "json")
	require.Equal(t, outcome.Failed, code, "the gate is 85 percent, and nothing is covered")
	var got struct {
		Result  string
		Modules []map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	require.Equal(t, "failed", got.Result)
	for _, key := range []string{"path", "coverage", "tests", "failed"} {
		require.Contains(t, got.Modules[0], key)
	}

	sourcetest.Write(t, dir, "api/main_test.go", "package main\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) { t.Fatal(\"broken promise\") }\n")
	code, stdout, _ = run(t, "test", "--source", dir, "--out", out, "--min-coverage", "0", "--output", "markdown")
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stdout, "broken promise")

	code, stdout, stderr = run(t, "rehearse", "--source", dir)
	require.Equal(t, outcome.Failed, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "broken promise")
	require.Contains(t, stderr, "slipway: the tests failed: run slipway test for the reports")

	sourcetest.Write(t, dir, "api/slow_test.go", "package main\n\nimport \"testing\"\n\nfunc TestForever(t *testing.T) { <-t.Context().Done() }\n")
	code, stdout, _ = run(t, "test", "--source", dir, "--out", out, "--min-coverage", "0", "--timeout", "1s")
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stdout, "TestForever")
}

func TestLocalAWS(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan outcome.Code, 1)
	go func() {
		ended <- cli.Run(ctx, []string{"local-aws", "--throttle", "--latency", "1ms", "--fault", "5xx:action=ListTasks", "--fault", "throttle:action=ListClusters"}, writer, io.Discard, nil)
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "AWS_ENDPOINT_URL=")
	require.True(t, ok, line)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url + "/v2/")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode, "the registry is served there, too")
	for action, want := range map[string]string{"ListTasks": "InternalFailure", "ListClusters": "ThrottlingException", "DescribeClusters": ""} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
		require.NoError(t, err)
		req.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+action)
		answer, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, want, answer.Header.Get("X-Amzn-Errortype"), "every --fault is injected")
	}
	cancel()
	require.Equal(t, outcome.Done, <-ended)
	_, err = client.Get(url)
	require.Error(t, err, "nothing is left listening")
}

func TestRehearse(t *testing.T) {
	dir := sourcetest.New(t)
	code, stdout, stderr := run(t, "rehearse", "--skip-tests", "--source", dir, "--output", "markdown")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "| api | succeeded |")
	require.Contains(t, stderr, "api: runs the new version")

	code, stdout, stderr = run(t, "rehearse", "--skip-tests", "--source", dir, "--output", "json", "--scenario", "crash")
	require.Equal(t, outcome.Restored, code, stderr)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &got), "one JSON document")
	require.Equal(t, "restored", got["result"])
}

// TestRehearseKeep leaves the system up until it is interrupted.
func TestRehearseKeep(t *testing.T) {
	dir := sourcetest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan outcome.Code, 1)
	var report bytes.Buffer
	go func() {
		ended <- cli.Run(ctx, []string{"rehearse", "--skip-tests", "--keep", "--source", dir}, &report, writer, nil)
		writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	url := ""
	for url == "" && lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), "the system is up at "); ok {
			url, _, _ = strings.Cut(after, ": press")
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url + "/api/")
	require.NoError(t, err)
	var said map[string]string
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&said))
	require.NoError(t, answer.Body.Close())
	require.Regexp(t, "^[0-9a-f]{40}$", said["version"])
	cancel()
	_, err = io.Copy(io.Discard, reader)
	require.NoError(t, err)
	require.Equal(t, outcome.Done, <-ended, "the release had succeeded")
	require.Contains(t, report.String(), "succeeded in")
	_, err = client.Get(url)
	require.Error(t, err, "nothing is left listening")
}
