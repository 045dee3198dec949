package blackbox

import (
	"encoding/json"
	"net/url"
	"strconv"
	"testing"

	sdk "dagger.io/dagger"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// release is the release returned by a call.
type release struct{ Result, Report, Markdown, Json string }

// document decodes the release's report.
func (r release) document(t *testing.T) (d report.Release) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.Json), &d))
	return d
}

// inPlatform runs steps against an embedded AWS that runs the services of a small tree
// at the current commit.
func inPlatform(t *testing.T, steps func(dir string, p pipeline)) {
	t.Helper()
	client := connect(t)
	dir := sourcetest.New(t)
	rehearsaltest.Deliver(t, dir, func(endpoint string, release report.Release) {
		id, err := client.Host().Service(ports(t, endpoint, release.URL), sdk.HostServiceOpts{Host: "127.0.0.1"}).ID(t.Context())
		require.NoError(t, err)
		steps(dir, newPipeline(t, dir).with("aws", id))
	})
}

// ports forwards the ports of the addresses under the same numbers.
func ports(t *testing.T, addresses ...string) (list []sdk.PortForward) {
	t.Helper()
	for _, address := range addresses {
		parsed, err := url.Parse(address)
		require.NoError(t, err)
		number, err := strconv.Atoi(parsed.Port())
		require.NoError(t, err)
		list = append(list, sdk.PortForward{Backend: number, Frontend: number})
	}
	return list
}

func TestReleases(t *testing.T) {
	inPlatform(t, func(dir string, p pipeline) {
		var status struct{ Status struct{ Json, Report string } }
		require.NoError(t, p.call(`status { json report }`, &status))
		require.Contains(t, status.Status.Report, "steady")

		var diff struct {
			Diff struct {
				Changed bool
				Report  string
			}
		}
		require.NoError(t, p.call(`diff { changed report }`, &diff))
		require.False(t, diff.Diff.Changed, diff.Diff.Report)

		sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>two</title>")
		var deploy struct{ Deploy release }
		require.ErrorContains(t, p.call(`deploy { result report json }`, &deploy), "the tree has changes that are not in commit")

		sourcetest.Commit(t, dir, "second")
		require.NoError(t, p.call(`diff { changed report }`, &diff))
		require.True(t, diff.Diff.Changed)

		require.NoError(t, p.call(`deploy { result report json }`, &deploy))
		require.Equal(t, "succeeded", deploy.Deploy.Result, deploy.Deploy.Report)
		first := deploy.Deploy.document(t)
		require.Contains(t, deploy.Deploy.Report, "succeeded in")

		require.NoError(t, p.call(`deploy { result report json }`, &deploy))
		require.Equal(t, "unchanged", deploy.Deploy.Result, "no answer from a cache")
		second := deploy.Deploy.document(t)
		require.NotEqual(t, first.StartedAt, second.StartedAt)

		require.NoError(t, p.call(`deploy { result report json }`, &deploy))
		require.NotEqual(t, second.StartedAt, deploy.Deploy.document(t).StartedAt, "the same call twice is two runs")

		var rollback struct{ Rollback release }
		require.NoError(t, p.call(`rollback { result report json }`, &rollback))
		require.Equal(t, "succeeded", rollback.Rollback.Result)
		require.NoError(t, p.call(`rollback { result report json }`, &rollback))
		require.Equal(t, "unchanged", rollback.Rollback.Result, "run again it goes no further")
	})
}

// TestFailedRelease releases a version that exits at start. The call must fail and
// report the causes.
func TestFailedRelease(t *testing.T) {
	inPlatform(t, func(dir string, p pipeline) {
		sourcetest.Write(t, dir, "api/main.go", "package main\n\nfunc main() { panic(\"no database\") }\n")
		sourcetest.Commit(t, dir, "broken")
		var deploy struct{ Deploy release }
		err := p.call(`deploy(timeout: "60s") { result }`, &deploy)
		require.ErrorContains(t, err, "exit code 3")
		require.ErrorContains(t, err, "no database")
		require.ErrorContains(t, err, "restored")
	})
}

func TestBadInput(t *testing.T) {
	tests := map[string]struct{ selection, want string }{
		"no credentials":    {`status { report }`, "no AWS credentials: on a laptop --aws-credentials="},
		"unknown service":   {`build(services: ["nope"]) { entries }`, `no service "nope"`},
		"unknown platform":  {`build(platforms: ["plan9/mips"]) { entries }`, "want linux/amd64, linux/arm64 or both"},
		"no base":           {`build(services: ["web"]) { entries }`, "base 127.0.0.1:1/nginx cannot be reached, and without it"},
		"no base to scan":   {`scan(services: ["web"]) { result }`, "scanning web: base 127.0.0.1:1/nginx cannot be reached"},
		"a limit":           {`deploy(timeout: "soon") { result }`, `invalid --timeout "soon": want a duration`},
		"an unknown commit": {`deploy(sha: "abc") { result }`, "no AWS credentials"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, newPipeline(t, sourcetest.New(t)).call(tt.selection, &struct{}{}), tt.want)
		})
	}
	t.Run("no git checkout", func(t *testing.T) {
		require.ErrorContains(t, newPipeline(t, t.TempDir()).call(`build { entries }`, &struct{}{}), "git")
	})
	t.Run("half an identity", func(t *testing.T) {
		p := newPipeline(t, sourcetest.New(t)).with("awsRole", "arn:aws:iam::123456789012:role/deploy")
		require.ErrorContains(t, p.call(`status { report }`, &struct{}{}), "--aws-role may be assumed only with the job's identity")
	})
}
