package cli_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/outputtest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// staging is an environment file for the platform of the tests.
const staging = `{"environment": "staging"}`

// everything returns the names of all resources that a preview could add to, and how they
// are configured.
func everything(t *testing.T) []string {
	t.Helper()
	config, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	containers, balancers := ecs.NewFromConfig(config), elb.NewFromConfig(config)
	var all []string
	cluster := platform.Cluster
	services, err := containers.ListServices(t.Context(), &ecs.ListServicesInput{Cluster: &cluster})
	require.NoError(t, err)
	described, err := containers.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: &cluster, Services: services.ServiceArns})
	require.NoError(t, err)
	for _, s := range described.Services {
		all = append(all, *s.ServiceArn+" "+*s.TaskDefinition)
	}
	groups, err := balancers.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{})
	require.NoError(t, err)
	for _, group := range groups.TargetGroups {
		all = append(all, *group.TargetGroupArn)
	}
	found, err := balancers.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{})
	require.NoError(t, err)
	listeners, err := balancers.DescribeListeners(t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: found.LoadBalancers[0].LoadBalancerArn})
	require.NoError(t, err)
	for _, listener := range listeners.Listeners {
		rules, err := balancers.DescribeRules(t.Context(), &elb.DescribeRulesInput{ListenerArn: listener.ListenerArn})
		require.NoError(t, err)
		for _, r := range rules.Rules {
			all = append(all, *r.RuleArn+" "+*r.Priority)
		}
	}
	families, err := containers.ListTaskDefinitions(t.Context(), &ecs.ListTaskDefinitionsInput{})
	require.NoError(t, err)
	return append(all, families.TaskDefinitionArns...)
}

// fetch requests an address from a host.
func fetch(t *testing.T, address, host string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	request.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(raw)
}

// testPreviews makes, updates, breaks and removes previews beside what runs.
func testPreviews(t *testing.T, dir string) {
	code, _, stderr := run(t, "preview", "list", "--source", dir)
	require.Equal(t, outcome.Refused, code)
	require.Contains(t, stderr, "environment production has no previews")

	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/staging.tfvars.json", staging)
	sourcetest.Commit(t, dir, "staging")
	before := everything(t)
	running := decode[report.Status](t, ran(t, dir, "status"))
	base := running.URL
	with := func(args ...string) (outcome.Code, report.Preview) {
		t.Helper()
		code, stdout, stderr := run(t, append([]string{"preview", "up", "--source", dir, "--output", "json", "--env", "staging"}, args...)...)
		require.NotEmpty(t, stdout, stderr)
		schematest.RequireValid(t, "preview", []byte(stdout))
		return code, decode[report.Preview](t, stdout)
	}
	list := func() []report.PreviewStatus {
		t.Helper()
		stdout := ran(t, dir, "preview", "list")
		schematest.RequireValid(t, "previews", []byte(stdout))
		return decode[report.Previews](t, stdout).Previews
	}
	change := func(title, body string) string {
		t.Helper()
		sourcetest.Write(t, dir, "api/note.go", "package main\n\nfunc init() { "+body+" }\n")
		sourcetest.Commit(t, dir, title)
		return strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	}

	broken := change("broken", `panic("no preview")`)
	code, failed := with("--pr", "7", "--service", "api")
	require.Equal(t, outcome.Failed, code, failed.Error)
	require.Equal(t, report.Failed, failed.Result)
	require.Contains(t, strings.Join(failed.Services[0].Causes[0].LogTail, "\n"), "no preview")
	require.NotEmpty(t, failed.Removed)
	require.Equal(t, before, everything(t), "nothing is left")
	require.Empty(t, list())

	first := change("first", `println("first")`)
	code, up := with("--pr", "7", "--host-suffix", "preview.example.com")
	require.Equal(t, outcome.Done, code, up.Error)
	require.Contains(t, up.URL, "http://pr7.preview.example.com:")
	_, body := fetch(t, base+"/api/", "pr7.preview.example.com")
	require.Contains(t, body, first)
	_, body = fetch(t, base+"/api/", "")
	require.NotContains(t, body, first, "the environment's")
	status, _ := fetch(t, base+"/", "pr7.preview.example.com")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, stageNames(up.Release), "smoke")

	code, again := with("--pr", "7", "--host-suffix", "preview.example.com")
	require.Equal(t, outcome.Done, code, again.Error)
	require.Equal(t, report.Unchanged, again.Result)

	code, alone := with("--pr", "12", "--service", "api", "--ttl", "1m")
	require.Equal(t, outcome.Done, code, alone.Error)
	require.Equal(t, base+"/pr12", alone.URL)
	_, body = fetch(t, alone.URL+"/api/", "")
	require.Contains(t, body, first, "the load balancer removes the prefix")

	code, full := with("--pr", "13", "--max", "2")
	require.Equal(t, outcome.Refused, code)
	require.Contains(t, full.Error, "2 previews exist (#7, #12) and --max is 2")

	require.Subset(t, everything(t), before, "what Terraform manages is as before")
	all := list()
	require.Len(t, all, 2)
	require.Equal(t, []any{7, first, report.Steady, up.URL, false}, []any{all[0].Number, all[0].SHA, all[0].State, all[0].URL, all[0].Expired})
	require.Equal(t, []string{"ecs-pr7-api", "ecs-pr7-web"}, all[0].Services)
	_, text, _ := run(t, "preview", "list", "--source", dir)
	require.Contains(t, text, first[:12])

	code, restored := with("--pr", "7", "--sha", publish(t, dir, broken), "--host-suffix", "preview.example.com", "--service", "api")
	require.Equal(t, outcome.Restored, code, restored.Error)
	require.Equal(t, first, list()[0].SHA)
	_, body = fetch(t, base+"/api/", "pr7.preview.example.com")
	require.Contains(t, body, first, "restored")

	testInterruptedPreview(t, dir)

	stdout := ran(t, dir, "preview", "sweep", "--open", "12,13")
	schematest.RequireValid(t, "preview-removal", []byte(stdout))
	swept := decode[report.PreviewRemoval](t, stdout)
	require.Len(t, swept.Previews, 1)
	require.Equal(t, 7, swept.Previews[0].Number)
	require.Equal(t, "the pull request is closed", swept.Previews[0].Reason)
	down := decode[report.PreviewRemoval](t, ran(t, dir, "preview", "down", "--pr", "12"))
	require.Contains(t, strings.Join(down.Previews[0].Removed, "\n"), "ECS service ecs-pr12-api")
	_, stdout, _ = run(t, "preview", "down", "--pr", "12", "--source", dir)
	require.Contains(t, stdout, "nothing to remove")
	require.Equal(t, before, everything(t), "nothing is left, and nothing else has changed")
	after := decode[report.Status](t, ran(t, dir, "status"))
	require.Equal(t, running.Services[0].Version, after.Services[0].Version)
}

// publish publishes the images of a commit and returns it.
func publish(t *testing.T, dir, sha string) string {
	t.Helper()
	sourcetest.Git(t, dir, "checkout", "-q", sha)
	ran(t, dir, "publish")
	sourcetest.Git(t, dir, "checkout", "-q", "-")
	return sha
}

// testInterruptedPreview interrupts a first release.
func testInterruptedPreview(t *testing.T, dir string) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var recovery []string
	stderr := outputtest.NewMatchWriter("first release: desired count 0 -> 1", func([]string) { cancel(outcome.Interruption("interrupted by the test")) })
	code := cli.Run(ctx, []string{"preview", "up", "--pr", "14", "--service", "api", "--source", dir}, io.Discard, stderr, func(command string) { recovery = append(recovery, command) })
	require.Equal(t, outcome.Interrupted, code)
	require.Contains(t, recovery[0], "slipway preview down --pr 14 --env staging")
	require.Len(t, decode[report.Previews](t, ran(t, dir, "preview", "list")).Previews, 2)
}

func TestPreviewBadInput(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/staging.tfvars.json", staging)
	sourcetest.Write(t, dir, platform.ServicesFile, strings.Replace(sourcetest.Services, "{\n", `{"night": {"path": "api", "kind": "go", "schedule": "rate(1 hour)", "cpu": 256, "memory": 512},`+"\n", 1))
	sourcetest.Commit(t, dir, "staging")
	inEmptyAccount(t, localaws.Options{})
	for args, want := range map[string]string{
		"up":                                    "preview up needs the number of a pull request: --pr NUMBER",
		"down":                                  "preview down needs the number of a pull request: --pr NUMBER",
		"up --pr 0":                             `invalid argument "0" for "--pr" flag: want the number of a pull request, such as 12`,
		"down --pr -3":                          `invalid argument "-3" for "--pr" flag: want the number of a pull request`,
		"up --pr main":                          `invalid argument "main" for "--pr" flag: want the number of a pull request`,
		"up --pr 10000000":                      `invalid argument "10000000" for "--pr" flag`,
		"up --pr 1 --ttl 5s":                    "invalid --ttl 5s: want 1m0s or more, such as 72h0m0s",
		"up --pr 1 --ttl 0s":                    `invalid argument "0s" for "--ttl" flag: want a duration above 0`,
		"up --pr 1 --max 0":                     "invalid --max 0: want 1 or more, such as 5",
		"up --pr 1 --host-suffix https://a.com": `invalid --host-suffix "https://a.com": want a domain in lower case, such as preview.example.com`,
		"up --pr 1 --env stagin":                `no environment "stagin": did you mean "staging"?`,
		"sweep --open ,":                        `invalid --open ",": want the numbers of the open pull requests, such as 12,15, or none`,
		"dwon":                                  `unknown command "dwon": did you mean down?`,
	} {
		t.Run(args, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"preview"}, append(strings.Fields(args), "--source", dir)...)...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, want)
		})
	}
	for args, want := range map[string]string{
		"up --pr 1 --service night": "night is a job: a preview has web services and workers only: leave it out",
	} {
		t.Run(args, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"preview"}, append(strings.Fields(args), "--source", dir, "--output", "json")...)...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Equal(t, want, decode[report.Preview](t, stdout).Error)
		})
	}
}
