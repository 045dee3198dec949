package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
	"github.com/slipway-cd/slipway/ci/internal/release/notify"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// environmentTree returns a tree of a worker with two environments.
func environmentTree(t *testing.T) string {
	t.Helper()
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, platform.ServicesFile, `{"services": {"s000": {"path": "api", "kind": "go", "cpu": 256, "memory": 512, "desired_count": 1}}}`)
	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/staging.tfvars.json", `{"environment": "staging", "account_id": "111111111111"}`)
	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/production.tfvars.json", `{"environment": "production", "account_id": "222222222222", "promote_from": "staging"}`)
	sourcetest.Commit(t, dir, "environments")
	return dir
}

// TestPromote promotes between two accounts, with a profile for each.
func TestPromote(t *testing.T) {
	binary, err := testapp.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	dir := environmentTree(t)
	sha := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	config := ""
	fleets := map[string]*localawstest.Fleet{}
	for name, account := range map[string]string{"staging": "111111111111", "production": "222222222222"} {
		old, err := testapp.ServiceImage(binary, "old", "hang")
		require.NoError(t, err)
		f := localawstest.NewFleet(t, localaws.Options{Account: account, TimeScale: 200}, 1, old)
		fleets[name] = f
		config += fmt.Sprintf("[profile %s]\naws_access_key_id = any\naws_secret_access_key = any\nendpoint_url = %s\n", name, f.Server.Endpoint())
	}
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	for name, value := range map[string]string{"AWS_CONFIG_FILE": file, "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": "staging", "AWS_REGION": platform.DefaultRegion} {
		t.Setenv(name, value)
	}
	img, err := testapp.ServiceImage(binary, "new", "hang")
	require.NoError(t, err)
	fleets["staging"].Push(img, sha)
	without(t, "go", "docker")
	notified := receiveNotifications(t)
	ran(t, dir, "deploy", "--env", "staging", "--sha", sha, "--no-build", "--skip-smoke")
	require.Equal(t, []string{"staging: deploy begun", "staging: deploy done"}, notified())

	code, stdout, stderr := run(t, "status", "--source", dir, "--env", "staging", "--figures", "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	schematest.RequireValid(t, "status", []byte(stdout))
	figures := decode[report.Status](t, stdout).Figures
	require.Equal(t, []int{1, 0, 1}, []int{figures.Succeeded, figures.Failed, figures.LeadTime.Of})
	require.Equal(t, sha, figures.Releases[0].SHA)
	require.Equal(t, []string{"s000"}, figures.Releases[0].Services)
	code, stdout, stderr = run(t, "status", "--source", dir, "--env", "staging", "--figures", "--output", "markdown")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "| change failure rate | 0.0 % | 0 of 1 releases failed |\n")

	difference := []string{"diff", "--source", dir, "--env", "staging", "--with", "production", "--with-profile", "production"}
	code, stdout, stderr = run(t, append(difference, "--output", "json")...)
	require.Equal(t, outcome.Done, code, stderr)
	diff := decode[report.Diff](t, stdout)
	require.True(t, diff.Changed)
	require.Equal(t, "production", diff.With)
	require.Equal(t, report.Change{Path: "commit", From: sha}, diff.Services[0].Changes[0])

	status := append([]string{"status"}, difference[1:]...)
	code, stdout, stderr = run(t, append(status, "--output", "json")...)
	require.Equal(t, outcome.Done, code, stderr)
	schematest.RequireValid(t, "status", []byte(stdout))
	both := decode[report.Status](t, stdout)
	require.Equal(t, []string{"staging", "production", sha, ""}, []string{both.Environment, both.With.Environment, both.Services[0].Version.SHA, both.With.Services[0].Version.SHA})
	code, stdout, stderr = run(t, status...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Regexp(t, `(?m)^service +staging +production$`, stdout)
	require.Regexp(t, `(?m)^s000 +commit +`+sha[:12]+` +.* differs$`, stdout)
	code, stdout, stderr = run(t, append(status, "--output", "markdown")...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "## What runs in staging and production\n")
	require.Contains(t, stdout, "| s000 | tasks | `1 of 1 run` | `1 of 1 run` |  |\n")

	t.Setenv("AWS_PROFILE", "production")
	unchecked := []string{"promote", "--source", dir, "--to", "production", "--allow-unsigned", "--fail-on", "none", "--skip-smoke"}
	code, _, stderr = run(t, unchecked...)
	require.Equal(t, outcome.Refused, code)
	require.Empty(t, notified(), "it did not start")
	require.Contains(t, stderr, "environment staging is in account 111111111111, but the credentials are of account 222222222222")

	code, _, stderr = run(t, append(unchecked, "--from-profile", "staging", "--soak", "1h")...)
	require.Equal(t, outcome.Refused, code, stderr)
	require.Equal(t, []string{"production: promote failed"}, notified())
	t.Setenv("SLIPWAY_SLACK_URL", "http://"+unusable)
	code, stdout, stderr = run(t, append(unchecked, "--from-profile", "staging", "--output", "json")...)
	require.Equal(t, outcome.Done, code, stderr)
	schematest.RequireValid(t, "release", []byte(stdout))
	release := decode[report.Release](t, stdout)
	require.Equal(t, []string{"production: promote begun", "production: promote done"}, notified())
	require.Equal(t, []string{"Slack is not notified: SLIPWAY_SLACK_URL is not https://HOST/…"}, release.Notes, "not even a wrong setting fails it")
	require.NotContains(t, stdout+stderr, unusable)
	require.Equal(t, []string{"production", "staging", sha}, []string{release.Environment, release.PromotedFrom.Environment, release.SHA})
	require.Equal(t, report.ImageCopied, release.Images[0].Result)
	require.Equal(t, []string{"source", "copy", "deploy", "preflight"}, stageNames(release), "nothing is built")
	require.FileExists(t, filepath.Join(dir, ".slipway", "promote", "report.json"))

	t.Setenv("AWS_PROFILE", "staging")
	code, stdout, stderr = run(t, difference...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "staging -> production\ns000: equal ("+sha[:12]+")\n")
}

// unusable is the host of a URL that is a secret.
const unusable = "hooks.invalid"

// receiveNotifications sets a webhook, and returns a function that returns what it got since.
func receiveNotifications(t *testing.T) func() []string {
	t.Helper()
	got := make(chan notify.Notification, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if assert.NoError(t, err) {
			schematest.RequireValid(t, "notification", body)
			got <- decode[notify.Notification](t, string(body))
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("SLIPWAY_NOTIFY_URL", server.URL)
	t.Setenv("SLIPWAY_NOTIFY_KEY", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5") // gitleaks:allow: planted
	return func() (events []string) {
		for {
			select {
			case n := <-got:
				events = append(events, fmt.Sprintf("%s: %s %s", n.Environment, n.Command, n.Event))
			default:
				return events
			}
		}
	}
}

func TestPromoteBadInput(t *testing.T) {
	dir := environmentTree(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	file := filepath.Join(t.TempDir(), "key.pem")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no target":           {[]string{"promote", "--from", "staging", "--allow-unsigned"}, "no target: name the environment with --to"},
		"unknown target":      {[]string{"promote", "--from", "staging", "--to", "prodction", "--allow-unsigned"}, `--to: no environment "prodction": did you mean "production"?`},
		"itself":              {[]string{"promote", "--from", "staging", "--to", "staging", "--allow-unsigned"}, "cannot promote staging to itself"},
		"backwards":           {[]string{"promote", "--from", "production", "--to", "staging", "--allow-unsigned"}, "production is promoted from staging (promote_from in terraform/environments/production.tfvars.json)"},
		"no signer":           {[]string{"promote", "--to", "production"}, "a promotion requires signed images: trust a signer with --key or --identity, or use --allow-unsigned"},
		"a signer for none":   {[]string{"promote", "--to", "production", "--allow-unsigned", "--key", file}, "--allow-unsigned needs no --key or --identity: leave out one of them"},
		"severity":            {[]string{"promote", "--to", "production", "--allow-unsigned", "--fail-on", "worst"}, `invalid --fail-on "worst"`},
		"soak":                {[]string{"promote", "--to", "production", "--soak", "30"}, `invalid argument "30" for "--soak" flag`},
		"unknown service":     {[]string{"promote", "--to", "production", "--allow-unsigned", "--service", "s00"}, `did you mean "s000"?`},
		"profile and role":    {[]string{"promote", "--to", "production", "--allow-unsigned", "--from-profile", "a", "--from-role", "b"}, "--from-profile and --from-role exclude each other"},
		"no such profile":     {[]string{"promote", "--to", "production", "--allow-unsigned", "--from-profile", "stagng"}, `no AWS profile "stagng"`},
		"a role without job":  {[]string{"promote", "--to", "production", "--allow-unsigned", "--from-role", "arn:aws:iam::111111111111:role/x"}, "arn:aws:iam::111111111111:role/x cannot be assumed without the job's OIDC token"},
		"with itself":         {[]string{"diff", "--env", "staging", "--with", "staging"}, "cannot compare staging with itself"},
		"with unknown":        {[]string{"diff", "--env", "staging", "--with", "prodction"}, `--with: no environment "prodction": did you mean "production"?`},
		"with a commit":       {[]string{"diff", "--env", "staging", "--with", "production", "--sha", "x"}, "--with and --sha exclude each other"},
		"status with itself":  {[]string{"status", "--env", "staging", "--with", "staging"}, "cannot compare staging with itself"},
		"status and figures":  {[]string{"status", "--env", "staging", "--with", "production", "--figures"}, "--with and --figures exclude each other: leave out one of them"},
		"status and drift":    {[]string{"status", "--env", "staging", "--with", "production", "--infra"}, "--with and --infra exclude each other: leave out one of them"},
		"credentials too":     {[]string{"status", "--env", "staging", "--with-role", "x"}, "--with-profile and --with-role need --with: add it"},
		"credentials of none": {[]string{"diff", "--env", "staging", "--with-profile", "x"}, "--with-profile and --with-role need --with: add it"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := run(t, append(tt.args, "--source", dir)...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Contains(t, stderr, tt.want)
			require.Equal(t, 1, strings.Count(strings.TrimPrefix(stderr, "environment staging\n"), "\n"), stderr)
		})
	}
}
