package cli_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// inPlatform runs steps against an embedded AWS in which the services of a small
// tree run. The tree is at the commit that runs.
func inPlatform(t *testing.T, steps func(dir string)) {
	t.Helper()
	dir := sourcetest.New(t)
	cli.ShortenWaits(t)
	rehearsaltest.RunWithAWS(t, dir, func() { steps(dir) })
}

// decode reads the one JSON document on standard output.
func decode[T any](t *testing.T, stdout string) T {
	t.Helper()
	var document T
	require.NoError(t, json.Unmarshal([]byte(stdout), &document), stdout)
	return document
}

// TestReleaseCommands runs the release commands in sequence on one platform, because
// starting one is slow.
func TestReleaseCommands(t *testing.T) {
	inPlatform(t, func(dir string) {
		for _, part := range []struct {
			name string
			test func(t *testing.T, dir string)
		}{
			{"delivery", testDeploy},
			{"tasks", testTasks},
			{"previews", testPreviews},
			{"a neighbour is down", testOtherServiceDown},
			{"without a work tree", testWithoutGit},
			{"the way back is gone", testPreviousImageGone}, // leaves an image that is not to be gone back to
			{"bad input", testReleaseErrors},
			{"signatures", testSignatures},
			{"signed by a job", testKeylessSigning},
			{"drift", testDrift},
		} {
			t.Run(part.name, func(t *testing.T) { part.test(t, dir) })
		}
	})
}

func testDeploy(t *testing.T, dir string) {
	at := []string{"--source", dir, "--output", "json"}
	with := func(args ...string) (outcome.Code, string, string) { return run(t, append(args, at...)...) }

	code, stdout, stderr := with("status")
	require.Equal(t, outcome.Done, code, stderr)
	first := decode[report.Status](t, stdout)
	require.Len(t, first.Services, 2)
	require.Equal(t, report.Steady, first.Services[0].State)
	require.NotEmpty(t, first.URL)

	code, stdout, stderr = with("deploy")
	require.Equal(t, outcome.Done, code, stderr)
	require.Equal(t, report.Unchanged, decode[report.Release](t, stdout).Result)

	sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>two</title>")
	code, stdout, _ = with("deploy")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, decode[report.Release](t, stdout).Error, "the tree has changes that are not in commit")

	sourcetest.Commit(t, dir, "second")
	code, stdout, stderr = with("diff")
	require.Equal(t, outcome.Done, code, stderr)
	diff := decode[report.Diff](t, stdout)
	require.True(t, diff.Changed)

	code, stdout, stderr = with("deploy")
	require.Equal(t, outcome.Done, code, stderr)
	second := decode[report.Release](t, stdout)
	require.Equal(t, report.Succeeded, second.Result)
	require.Equal(t, diff.SHA, second.SHA)
	require.Equal(t, []string{"build", "publish", "deploy", "preflight", "smoke"}, stageNames(second))

	code, stdout, stderr = with("rollback")
	require.Equal(t, outcome.Done, code, stderr)
	back := decode[report.Release](t, stdout)
	require.Equal(t, report.Succeeded, back.Result)
	require.Equal(t, first.Services[0].Version.SHA, back.SHA)

	door := strings.Replace(first.URL, "http://", "http://me:secret@", 1) + "/"
	code, stdout, stderr = with("rollback", "--to", second.SHA, "--url", door)
	require.Equal(t, outcome.Done, code, stderr)
	again := decode[report.Release](t, stdout)
	require.Equal(t, second.SHA, again.SHA)
	require.Contains(t, stageNames(again), "smoke")
	require.NotContains(t, stdout+stderr, "secret")

	code, stdout, _ = run(t, "status", "--source", dir)
	require.Equal(t, outcome.Done, code)
	require.Contains(t, stdout, second.SHA[:12])

	fullDeploy(t, dir)
}

func stageNames(release report.Release) []string {
	var names []string
	for _, stage := range release.Stages {
		names = append(names, stage.Name)
	}
	return names
}

// testOtherServiceDown: the page is down before a fix of the API is released, by itself
// and with the page, which does not change.
func testOtherServiceDown(t *testing.T, dir string) {
	scaled := func(desired int32) {
		t.Helper()
		config, err := awsauth.Load(t.Context(), awsauth.Options{})
		require.NoError(t, err)
		_, err = ecs.NewFromConfig(config).UpdateService(t.Context(), &ecs.UpdateServiceInput{
			Cluster: aws.String(platform.Cluster), Service: aws.String("ecs-web-service"), DesiredCount: &desired,
		})
		require.NoError(t, err)
	}
	status := decode[report.Status](t, ran(t, dir, "status"))
	desired := status.Services[1].Tasks.Desired
	scaled(0)
	defer scaled(desired)
	for n, args := range [][]string{{"deploy", "--service", "api"}, {"deploy"}, {"rollback", "--service", "api"}} {
		if args[0] == "deploy" {
			sourcetest.Write(t, dir, "api/fix.go", fmt.Sprintf("package main\n\nfunc init() { println(%d) }\n", n))
			sourcetest.Commit(t, dir, "fix")
		}
		release := decode[report.Release](t, ran(t, dir, args...))
		require.Equal(t, report.Succeeded, release.Result, args)
		require.Equal(t, report.Succeeded, release.Services[0].Result, args)
		require.Contains(t, strings.Join(release.Notes, "\n"), "service web fails the smoke test, and this release started no task of it: / returned 503", args)
	}
}

// testPreviousImageGone deploys although the running image is gone from the registry.
func testPreviousImageGone(t *testing.T, dir string) {
	status := decode[report.Status](t, ran(t, dir, "status"))
	config, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	_, digest, _ := strings.Cut(status.Services[0].Version.Image, "@")
	_, err = ecr.NewFromConfig(config).BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{
		RepositoryName: aws.String("ecs-microservices-api"), ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: &digest}},
	})
	require.NoError(t, err)
	sourcetest.Write(t, dir, "api/fix.go", "package main\n\nfunc init() { println(\"again\") }\n")
	sourcetest.Commit(t, dir, "fix")
	code, stdout, stderr := run(t, "deploy", "--source", dir)
	require.Equal(t, outcome.Refused, code, stderr)
	require.Contains(t, stdout, "which runs now, is gone from Amazon ECR")
	release := decode[report.Release](t, ran(t, dir, "deploy", "--allow-no-rollback"))
	require.Equal(t, report.Succeeded, release.Result)
	require.Contains(t, strings.Join(release.Notes, "\n"), "service api: a failed release cannot be restored: image ")
}

// ran is the one JSON document of a command that is done.
func ran(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, append(args, "--source", dir, "--output", "json")...)
	require.Equal(t, outcome.Done, code, stdout+stderr)
	return stdout
}

// testWithoutGit runs status, deploy and rollback in a folder with only the services file,
// without git.
func testWithoutGit(t *testing.T, dir string) {
	sha := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	other := strings.Repeat("0", 40)
	plain := t.TempDir()
	sourcetest.Write(t, plain, platform.ServicesFile, sourcetest.Services)
	t.Setenv("PATH", t.TempDir())
	tests := []struct {
		args []string
		code outcome.Code
		want string
	}{
		{[]string{"status"}, outcome.Done, sha[:12]},
		{[]string{"deploy", "--sha", sha}, outcome.Done, sha[:12]},
		{[]string{"diff", "--sha", sha}, outcome.Done, ""},
		{[]string{"rollback"}, outcome.Done, "succeeded"},
		{[]string{"rollback", "--to", sha}, outcome.Done, sha[:12]},
		{[]string{"rollback", "--to", sha[:7]}, outcome.Usage, sha[:7] + " is short for " + sha + ": give " + sha},
		{[]string{"rollback", "--to", "0000000"}, outcome.Usage, `"0000000" is not a full commit id (40 hexadecimal digits), and git cannot resolve it: git is not installed`},
		{[]string{"rollback", "--to", "main"}, outcome.Usage, `"main" is not a full commit id`},
		{[]string{"deploy"}, outcome.Usage, "git is not installed"},
		{[]string{"deploy", "--sha", other}, outcome.Usage, "the registry has no image of commit " + other + ", and it cannot be built here: " + platform.ServicesFile},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			code, stdout, stderr := run(t, append(tt.args, "--source", plain)...)
			require.Equal(t, tt.code, code, stdout+stderr)
			require.Contains(t, stdout+stderr, tt.want)
		})
	}
}

func testReleaseErrors(t *testing.T, dir string) {
	none := strings.Repeat("0", 40)
	tests := map[string]struct {
		args []string
		code outcome.Code
		want string
	}{
		"an unknown commit":       {[]string{"deploy", "--sha", none}, outcome.Usage, "the registry has no image of commit " + none},
		"a short commit":          {[]string{"deploy", "--sha", "abcd1234"}, outcome.Usage, "abcd1234"},
		"an unknown one, at once": {[]string{"deploy", "--sha", none, "--no-build"}, outcome.Failed, "leave out --no-build"},
		"an unknown service":      {[]string{"deploy", "--service", "backnd"}, outcome.Usage, `no service "backnd"`},
		"no time":                 {[]string{"deploy", "--timeout", "1s"}, outcome.Usage, "invalid --timeout 1s: want 10s or more"},
		"no time to restore":      {[]string{"rollback", "--restore-timeout", "1ms"}, outcome.Usage, "invalid --restore-timeout 1ms: want 10s or more"},
		"no time to abort":        {[]string{"abort", "--restore-timeout", "1ms"}, outcome.Usage, "invalid --restore-timeout 1ms: want 10s or more"},
		"another scheme":          {[]string{"deploy", "--url", "ftp://site.example.com"}, outcome.Usage, `invalid --url "ftp://site.example.com": want http://HOST or https://HOST`},
		"no host":                 {[]string{"rollback", "--url", "https://"}, outcome.Usage, `invalid --url "https://": want`},
		"a host alone":            {[]string{"deploy", "--url", "www.example.com"}, outcome.Usage, `invalid --url "www.example.com": want`},
		"a query":                 {[]string{"deploy", "--url", "https://me:secret@www.example.com/?a=b"}, outcome.Usage, `invalid --url "https://(hidden)@www.example.com/?a=b": want`},
		"an unknown stage":        {[]string{"deploy", "--pause-at", "bake-time"}, outcome.Usage, `invalid --pause-at "bake-time": want post-test-traffic-shift, pre-production-traffic-shift or post-production-traffic-shift`},
		"a limit without a stage": {[]string{"deploy", "--pause-limit", "1h"}, outcome.Usage, "--pause-limit needs --pause-at"},
		"a pause of seconds":      {[]string{"continue", "--pause-at", "post-production-traffic-shift", "--pause-limit", "30s"}, outcome.Usage, "invalid --pause-limit 30s"},
		"a pause of nothing":      {[]string{"deploy", "--pause-at", "post-test-traffic-shift", "--pause-limit", "2h"}, outcome.Usage, "--pause-at: no service of this release shifts traffic"},
		"an unknown strategy":     {[]string{"rollback", "--strategy", "canry"}, outcome.Usage, `invalid --strategy "canry": want rolling, blue_green, canary or linear`},
		"a strategy of nothing":   {[]string{"deploy", "--strategy", "canary"}, outcome.Usage, "--strategy canary: no service of this release shifts traffic"},
		"nothing to continue":     {[]string{"continue"}, outcome.Refused, "no release is paused: the last one is over (slipway status"},
		"nothing to abort":        {[]string{"abort"}, outcome.Refused, "no release is in progress, so nothing is to abort (slipway status"},
		"a turn in the past":      {[]string{"deploy", "--wait-for-turn=-1m"}, outcome.Usage, "--wait-for-turn -1m0s"},
		"a revision of many":      {[]string{"rollback", "--to", "1"}, outcome.Usage, "matches several services"},
		"a revision of none":      {[]string{"rollback", "--to", "ecs-other-task:1"}, outcome.Usage, "no service has the family ecs-other-task"},
		"a revision that is not":  {[]string{"rollback", "--to", "ecs-api-task:99"}, outcome.Failed, "ecs-api-task:99"},
		"a commit never released": {[]string{"rollback", "--to", none}, outcome.Failed, "roll back to a commit that was released (slipway status)"},
		"another region":          {[]string{"status", "--region", "eu-nowhere-1_"}, outcome.Usage, "invalid AWS region"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, append(tt.args, "--source", dir)...)
			require.Equal(t, tt.code, code, stderr)
			require.Contains(t, stdout+stderr, tt.want)
		})
	}
	t.Run("a pause that nobody continues", func(t *testing.T) {
		t.Setenv("CI", "true")
		code, stdout, stderr := run(t, "deploy", "--source", dir, "--pause-at", "post-test-traffic-shift")
		require.Equal(t, outcome.Usage, code)
		require.Contains(t, stdout+stderr, "--pause-at needs --pause-limit in CI")
	})
	t.Run("an endpoint that does not answer", func(t *testing.T) {
		t.Setenv("AWS_MAX_ATTEMPTS", "2")
		t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
		code, _, stderr := run(t, "status", "--source", dir)
		require.Equal(t, outcome.Failed, code)
		require.Contains(t, stderr, "http://127.0.0.1:1")
	})
	t.Run("a front door that cannot be asked for", func(t *testing.T) {
		t.Setenv("AWS_MAX_ATTEMPTS", "1")
		t.Setenv("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "http://127.0.0.1:1")
		code, _, stderr := run(t, "deploy", "--source", dir)
		require.Equal(t, outcome.Failed, code, stderr)
		require.Contains(t, stderr, "cannot look up the URL of the smoke test (set it with --url, or use --skip-smoke): describing load balancer ecs-alb: http://127.0.0.1:1 cannot be reached")
		for _, args := range [][]string{{"deploy", "--skip-smoke"}, {"rollback", "--to", none}} {
			_, stdout, stderr := run(t, append(args, "--source", dir)...)
			require.NotContains(t, stdout+stderr, "--skip-smoke", "%s goes on without", args[0])
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		code, _, stderr := run(t, "deploy", "--source", dir)
		require.NotEqual(t, outcome.Done, code)
		require.Contains(t, stderr, "credentials")
	})
	t.Run("half of GitHub's identity", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://token.example")
		code, _, stderr := run(t, "deploy", "--source", dir)
		require.Equal(t, outcome.Usage, code, stderr)
	})
}

// testDrift checks status --infra.
func testDrift(t *testing.T, dir string) {
	code, stdout, stderr := run(t, "status", "--source", dir, "--infra", "--dir", "../elsewhere", "--output", "json")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, "want a folder of the source tree")
	require.Len(t, decode[report.Status](t, stdout).Services, 2, "what runs is told all the same")

	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not on PATH: install it from https://developer.hashicorp.com/terraform/install")
	}
	sourcetest.Write(t, dir, "terraform/main.tf", "terraform {\n  backend \"local\" {}\n}\n\nvariable \"services\" {}\n\nresource \"terraform_data\" \"a\" {}\n")
	sourcetest.Commit(t, dir, "platform")
	backend, out := "--backend-config=path="+filepath.Join(t.TempDir(), "state.json"), filepath.Join(t.TempDir(), "plan")
	code, _, stderr = run(t, "plan", "--source", dir, "--out", out, backend)
	require.Equal(t, outcome.Done, code, stderr)
	code, _, stderr = run(t, "apply", "--source", dir, "--plan", out)
	require.Equal(t, outcome.Done, code, stderr)

	code, stdout, stderr = run(t, "status", "--source", dir, "--infra", backend)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "No drift: the infrastructure matches the state.")
	code, stdout, stderr = run(t, "status", "--source", dir, "--infra", backend, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	infra := decode[report.Status](t, stdout).Infra.(map[string]any)
	require.Equal(t, true, infra["refresh_only"])
	require.Empty(t, infra["drift"])
	code, stdout, _ = run(t, "status", "--source", dir)
	require.Equal(t, outcome.Done, code)
	require.NotContains(t, stdout, "drift", "nobody asked for it")
}
