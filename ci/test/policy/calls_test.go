package policy_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/outputtest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/policy"
)

// spared are actions that the pipeline calls but can do without; it adds a note about
// what it could not find out. No role has them, and the tests deny them, so that a
// release that needs one fails.
var spared = map[string]string{
	"iam:GetRole":                   "whether roles exist is left to the release's own check",
	"iam:SimulatePrincipalPolicy":   "whether roles may be passed, too",
	"ecr:DescribeImageScanFindings": "a scan has its own findings",
}

// free are actions that need no permission.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
var free = []string{"sts:GetCallerIdentity"}

// resourceless are actions without a resource: a policy must use "*". ECS, for example,
// does not check which revision is described.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
var resourceless = []string{
	"cloudwatch:GetMetricData", "ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition", "ecs:ListServices", "ecs:ListTaskDefinitionFamilies", "ecs:ListTaskDefinitions",
	"elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTags",
	"elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
}

// requests returns the IAM requests of a call, one per resource.
func requests(call localaws.Call) []policy.Request {
	action := call.Service + ":" + call.Action
	resources := call.Resources
	switch {
	case slices.Contains(free, action):
		return nil
	case slices.Contains(resourceless, action):
		resources = []string{"*"}
	case action == "ecs:ListTasks":
		// The resources are the container instances of a cluster. Fargate has none.
		resources = []string{strings.Replace(call.Resources[0], ":cluster/", ":container-instance/", 1) + "/*"}
	}
	values := map[string][]string{}
	for key, value := range call.Conditions {
		values[key] = []string{value}
	}
	var all []policy.Request
	for _, resource := range resources {
		all = append(all, policy.Request{Action: action, Resource: resource, Context: values})
	}
	return all
}

// notParsed reports whether an injected fault rejected the call before it was parsed.
// Such a call is retried, or is one of spared.
func notParsed(call localaws.Call) bool { return call.Err != "" && len(call.Resources) == 0 }

// usage records which grants of a role the calls use.
type usage struct{ *policy.Usage }

func use(policies policy.Policies) usage { return usage{policy.NewUsage(policies)} }

// add evaluates calls.
func (u usage) add(t *testing.T, calls []localaws.Call) {
	t.Helper()
	for _, call := range calls {
		if _, ok := spared[call.Service+":"+call.Action]; ok || notParsed(call) {
			continue
		}
		for _, request := range requests(call) {
			require.NoError(t, u.Add(request))
		}
	}
}

// unused returns the grants that no call has used.
func (u usage) unused() []policy.Grant { return slices.Concat(u.Unused()) }

// unrehearsed are statements, and grants of statements, of the deploy role that the
// rehearsed trees do not need: their tasks have the execution role of services without
// secrets. They are tested by TestDeployRoleRunsTasks and TestAdoptedNames.
var unrehearsed = map[string]string{
	"TagTasksAsTheyAreRun": "tasks of services that propagate tags",
	"PassTheTasksRoles arn:aws:iam::" + account + ":role/ecs-*-task-execution-role": "services with secrets",
}

// check requires that every call is allowed and every grant is used.
func (u usage) check(t *testing.T) {
	t.Helper()
	require.Empty(t, u.Denied(), "the pipeline calls what the role may not")
	require.Empty(t, slices.DeleteFunc(u.unused(), func(g policy.Grant) bool {
		return unrehearsed[g.Sid] != "" || unrehearsed[g.Sid+" "+g.Text] != ""
	}), "the role may what the pipeline never does")
	actions, resources := u.Granted()
	t.Logf("%d requests; all of %d actions on %d resources that are granted are used", u.Requests(), len(actions), len(resources))
}

// TestUsage checks that usage finds denied calls and unused grants.
func TestUsage(t *testing.T) {
	const cluster = "arn:aws:ecs:us-east-1:1:cluster/"
	when := `"Condition": {"ArnEquals": {"ecs:cluster": "` + cluster + `a"}}`
	u := use(parse(t, document(
		statement("Allow", "ecs:ListTasks", "*", when),
		statement("Allow", "ecs:UpdateService", "arn:aws:ecs:us-east-1:1:service/a/*", when),
		statement("Allow", "ecs:updateservice", "*", when), // allows the same again
		statement("Allow", "ecr:PutImage", "*"),
		statement("Deny", "ecr:DeleteRepository", "*"),
	)))
	u.add(t, []localaws.Call{
		{Service: "ecs", Action: "ListTasks", Resources: []string{cluster + "a"}, Conditions: map[string]string{"ecs:cluster": cluster + "a"}},
		{Service: "ecs", Action: "ListTasks", Resources: []string{cluster + "b"}, Conditions: map[string]string{"ecs:cluster": cluster + "b"}},
		{Service: "ecs", Action: "UpdateService", Resources: []string{"arn:aws:ecs:us-east-1:1:service/a/b"}, Conditions: map[string]string{"ecs:cluster": cluster + "a"}},
		{Service: "ecs", Action: "UpdateService", Err: "ThrottlingException"},
		{Service: "ecr", Action: "DeleteRepository", Resources: []string{"arn:aws:ecr:us-east-1:1:repository/a"}, Err: "RepositoryNotFoundException"},
		{Service: "iam", Action: "GetRole", Err: "AccessDenied"},
		{Service: "sts", Action: "GetCallerIdentity"},
	})
	require.Equal(t, 4, u.Requests())
	require.Equal(t, []string{
		"ecr:DeleteRepository on arn:aws:ecr:us-east-1:1:repository/a with map[] is denied",
		"ecs:ListTasks on arn:aws:ecs:us-east-1:1:container-instance/b/* with map[ecs:cluster:[arn:aws:ecs:us-east-1:1:cluster/b]] is not allowed",
	}, u.Denied())
	require.Equal(t, []policy.Grant{
		{"Allow ecs:updateservice", "ecs:updateservice"},
		{"Allow ecr:PutImage", "ecr:PutImage"},
		{"Allow ecs:updateservice", "*"},
		{"Allow ecr:PutImage", "*"},
	}, u.unused())
}

// rehearse rehearses a small tree, runs steps afterwards, and returns the calls of the
// pipeline.
func rehearse(t *testing.T, scenario rehearsal.Scenario, steps func(dir, endpoint string)) []localaws.Call {
	t.Helper()
	return rehearseTree(t, sourcetest.New(t), scenario, steps)
}

// rehearseTree is [rehearse] of another tree.
func rehearseTree(t *testing.T, dir string, scenario rehearsal.Scenario, steps func(dir, endpoint string)) []localaws.Call {
	t.Helper()
	o := rehearsaltest.Options(t, dir, scenario)
	o.Cache = image.CacheDir()
	var server *localaws.Server
	o.Started = func(s *localaws.Server) {
		server = s
		for action := range spared {
			service, name, _ := strings.Cut(action, ":")
			s.Inject(localaws.Fault{Kind: localaws.AccessDenied, Service: service, Action: name})
		}
	}
	o.Up = func(endpoint string, _ report.Release) {
		if steps != nil {
			steps(dir, endpoint)
		}
	}
	release := rehearsaltest.Run(t, o)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	services := len(p.Services)
	if scenario == rehearsal.OneOfThreeBad {
		services++
	}
	require.Len(t, release.Services, services, "%+v", release)
	// Requests to the registry use its login and have no access key.
	return slices.DeleteFunc(server.Calls(), func(c localaws.Call) bool { return c.AccessKey != rehearsal.PipelineAccessKey && c.AccessKey != "" })
}

// run runs the command and requires the exit code. If the code is Interrupted, it
// interrupts the command as soon as a deployment has started.
func run(t *testing.T, want outcome.Code, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var stdout bytes.Buffer
	said := outputtest.NewMatchWriter(": deployment ecs-svc/", func([]string) {
		if want == outcome.Interrupted {
			cancel(outcome.Interruption("interrupted by the test"))
		}
	})
	code := cli.Run(ctx, args, &stdout, said, nil)
	require.Equal(t, want, code, "%v\n%s%s", args, &stdout, said)
}

// commit changes the site and commits the change.
func commit(t *testing.T, dir, title string) (sha string) {
	t.Helper()
	sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>"+title+"</title>")
	sourcetest.Commit(t, dir, title)
	revision, err := source.Tree{Dir: dir}.Revision(t.Context())
	require.NoError(t, err)
	return revision.SHA
}

// callingMost are scenarios that together make every call of all of them. That no other one
// calls a further action is checked where all are rehearsed, by [rehearsaltest.CheckActions];
// all release the same services.
var callingMost = []rehearsal.Scenario{
	rehearsal.Crash, rehearsal.Cancel, rehearsal.HookTimeout, rehearsal.KilledPaused, rehearsal.ForeignWeights, rehearsal.OneOfThreeBad,
}

// TestDeployRole runs everything that the workflows run with the deploy role, and the
// scenarios with all calls of a release, and evaluates every call.
func TestDeployRole(t *testing.T) {
	role := use(rolePolicies(t, "deploy"))
	supplychaintest.Install(t)
	private, public := supplychaintest.Keys(t, "one")
	scenarios := make(chan []localaws.Call, len(callingMost))
	whole := t // a parallel test may not set the environment
	t.Run("together", func(t *testing.T) {
		t.Run("commands", func(t *testing.T) { // one after another, because they have one environment
			t.Parallel()
			t.Run("of a release", func(t *testing.T) {
				role.add(t, rehearse(t, rehearsal.Happy, func(dir, endpoint string) {
					rehearsaltest.SetEnv(whole, endpoint)
					at := func(code outcome.Code, args ...string) {
						t.Helper()
						run(t, code, append(args, "--source", dir)...)
					}
					at(outcome.Done, "status")
					at(outcome.Done, "deploy") // without a change
					run(t, outcome.Done, "run", "api", "--source", dir, "--", "exit", "0")
					run(t, outcome.Failed, "run", "api", "--source", dir, "--timeout", "1s", "--", "sleep", "1h") // stops the task
					at(outcome.Done, "logs", "api")
					first := commit(t, dir, "first")
					at(outcome.Done, "diff")
					asCosign(t, first, dir)
					at(outcome.Done, "deploy", "--sha", first, "--no-build")
					at(outcome.Done, "rollback")
					at(outcome.Done, "rollback", "--to", first)
					at(outcome.Done, "rollback", "--to", "ecs-web-task:1")
					second := commit(t, dir, "second")
					at(outcome.Done, "deploy", "--sign-key", private, "--require-signature", "--key", public)
					at(outcome.Done, "verify", "--sha", second, "--key", public)
					commit(t, dir, "third")
					at(outcome.Interrupted, "deploy") // stops the deployment
					at(outcome.Done, "status")
				}))
			})
			t.Run("traffic that is shifted, a secret and a job", func(t *testing.T) {
				dir := sourcetest.New(t)
				services := strings.ReplaceAll(sourcetest.Services, `"cpu"`, `"strategy": {"type": "blue_green", "bake_minutes": 0}, "cpu"`)
				services = strings.Replace(services, `{"path": "api",`, `{"secrets": {"KEY": "/ecs/key", "TOKEN": "arn:aws:secretsmanager:us-east-1:000000000000:secret:ecs/token-AbCdEf"}, "path": "api",`, 1)
				services = strings.Replace(services, `"web":`, `"clock": {"path": "api", "kind": "go", "command": ["exit", "0"], "cpu": 256, "memory": 512, "schedule": "rate(1 day)"}, "web":`, 1)
				sourcetest.Write(t, dir, platform.ServicesFile, services)
				sourcetest.Commit(t, dir, "strategy")
				role.add(t, rehearseTree(t, dir, rehearsal.Happy, func(dir, endpoint string) {
					rehearsaltest.SetEnv(whole, endpoint)
					at := func(code outcome.Code, args ...string) {
						t.Helper()
						run(t, code, append(args, "--source", dir)...)
					}
					pause := []string{"deploy", "--pause-at", "post-test-traffic-shift", "--pause-limit", "2h"}
					commit(t, dir, "continued")
					at(outcome.Done, pause...)
					at(outcome.Done, "status")
					at(outcome.Done, "continue")
					commit(t, dir, "aborted")
					at(outcome.Done, pause...)
					at(outcome.Done, "abort")
					at(outcome.Done, "rollback")
				}))
			})
		})
		t.Run("scenarios", func(t *testing.T) {
			t.Parallel()
			dir := sourcetest.New(t) // all release the same
			for _, scenario := range callingMost {
				t.Run(string(scenario), func(t *testing.T) {
					t.Parallel()
					scenarios <- rehearseTree(t, dir, scenario, nil)
				})
			}
		})
	})
	close(scenarios)
	called := map[string]bool{}
	for calls := range scenarios {
		role.add(t, calls)
		for _, c := range calls {
			called[c.Service+":"+c.Action] = true
		}
	}
	if !t.Failed() {
		require.Subset(t, slices.Collect(maps.Keys(called)), rehearsaltest.Actions)
		role.check(t)
	}
}

// TestBuildRole publishes to empty repositories and to repositories that have most of
// the image.
func TestBuildRole(t *testing.T) {
	role := use(rolePolicies(t, "build"))
	server, err := localaws.Start(t.Context(), localaws.Options{})
	require.NoError(t, err)
	rehearsaltest.SetEnv(t, server.Endpoint())
	terraform := ecr.New(ecr.Options{
		Region: platform.DefaultRegion, BaseEndpoint: aws.String(server.Endpoint()), Credentials: credentials.NewStaticCredentialsProvider("terraform", "any", ""),
	})
	for _, name := range []string{"api", "web"} {
		_, err := terraform.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(platform.Service{Name: name}.Repository())})
		require.NoError(t, err)
	}
	dir := sourcetest.New(t)
	supplychaintest.Install(t)
	private, _ := supplychaintest.Keys(t, "one")
	run(t, outcome.Done, "publish", "--source", dir, "--sign-key", private)
	asCosign(t, commit(t, dir, "unsigned"), dir)
	// For the unchanged service it only verifies the signatures.
	commit(t, dir, "second")
	run(t, outcome.Done, "publish", "--source", dir, "--sign-key", private)
	require.NoError(t, server.Close())
	role.add(t, slices.DeleteFunc(server.Calls(), func(c localaws.Call) bool { return c.AccessKey == "terraform" }))
	role.check(t)
}

// asCosign publishes a commit and reads the attachments of its image as cosign does to
// verify signatures, because the fake cosign sends no request to the registry.
func asCosign(t *testing.T, sha, dir string) {
	t.Helper()
	run(t, outcome.Done, "publish", "--source", dir)
	config, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	to, err := delivery.NewAccount(config).Destination(t.Context())
	require.NoError(t, err)
	defer to.Registry.Close()
	repository := platform.Service{Name: "api"}.Repository()
	reference, found, err := to.Registry.Find(t.Context(), repository, sha)
	require.NoError(t, err)
	require.True(t, found)
	_, digest, _ := strings.Cut(reference, "@")
	subject, err := v1.NewHash(digest)
	require.NoError(t, err)
	attached, err := to.Registry.Referrers(t.Context(), repository, subject, "")
	require.NoError(t, err)
	require.NotEmpty(t, attached)
	layers, err := attached[0].Layers()
	require.NoError(t, err)
	content, err := layers[0].Compressed()
	require.NoError(t, err)
	require.NoError(t, content.Close())
}
