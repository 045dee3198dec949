// Package apply_test applies the repository's Terraform to moto. That takes minutes, mostly
// of waiting, so it is the module's first package in the order in which Go tests them.
package apply_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/infra/mototest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	tfjson "github.com/hashicorp/terraform-json"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
	infratf "github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/test/infratest"
	"github.com/slipway-cd/slipway/ci/test/terraform"
	"github.com/slipway-cd/slipway/ci/test/terraform/calls"
)

const (
	stateBucket = "ecs-microservices-state-" + infratest.Account
	stateObject = "/" + stateBucket + "/ecs-microservices/prod/terraform.tfstate"
)

// motoSettings are the settings for moto: no autoscaling, because moto's scalable targets are
// never ready. motoFeatures are every optional feature that moto supports, but the firewall.
const (
	motoSettings = "autoscaling={enabled=false},deletion_protection=false"
	motoFeatures = motoSettings + `,alb_access_logs=true,alarm_emails=["a@example.com"]`
)

// motoPlatform are the variables for moto.
var motoPlatform = []string{settings(motoFeatures)}

// settings returns the argument that sets the platform's inputs.
func settings(inputs string) string { return "-var=settings={" + inputs + "}" }

// bothEnvironments are bootstrap's environments.
var bothEnvironments = map[string]any{"production": map[string]any{}, "staging": map[string]any{"name_prefix": "stg", "state_key": "ecs-microservices/staging/terraform.tfstate"}}

// TestAppliedTwiceChangesNothing applies bootstrap and two environments of one account to
// moto. Second plans must be empty, also after a release outside Terraform, and a destroy
// must leave nothing. The roles of production must allow every call.
func TestAppliedTwiceChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("an apply to moto takes minutes: run without -short")
	}
	t.Parallel()
	endpoint, environment := mototest.Start(t)
	bootstrap := infratest.New(t, "bootstrap", environment...)
	bootstrap.Write("../modules/bootstrap/moto_override.tf", terraform.NotMotos)
	bootstrap.Write("../modules/bootstrap/later_override.tf", later)
	bootstrap.Init()
	both, err := json.Marshal(bothEnvironments)
	require.NoError(t, err)
	variables := []string{"-var=account_id=" + infratest.Account, "-var=github_repository=acme/shop", "-var=environments=" + string(both)}
	site{t, endpoint}.apply("bootstrap", bootstrap, variables)
	stagingApplied, productionPlanned := newEvent(), newEvent()
	if flag.Lookup("test.parallel").Value.String() == "1" { // they would wait for each other
		stagingApplied.done()
		productionPlanned.done()
	}

	t.Run("bootstrap", func(t *testing.T) {
		t.Parallel()
		w := bootstrap.ForSubtest(t)
		require.NoError(t, os.Remove(filepath.Join(w.Dir, "../modules/bootstrap/later_override.tf")))
		require.Len(t, terraform.Changes(w.Plan(variables...)), strings.Count(later, "resource"))
		w.Run("apply", "plan")
		require.Empty(t, terraform.Changes(w.Plan(variables...)), "a second plan of bootstrap")
		requireMoves(t, w, "module.bootstrap.", []string{""}, variables...)
	})
	t.Run("platform", func(t *testing.T) {
		t.Parallel()
		appliesPlatform(t, endpoint, environment, stagingApplied, productionPlanned)
	})
	t.Run("staging", func(t *testing.T) {
		t.Parallel()
		appliesStaging(t, endpoint, environment, stagingApplied, productionPlanned)
	})
}

// event is what one subtest awaits of another. It happens at the latest when that ends.
type event struct {
	context.Context
	done context.CancelFunc
}

func newEvent() event {
	ctx, done := context.WithCancel(context.Background())
	return event{ctx, done}
}

// appliesStaging applies and destroys the platform a second time in the same account. It
// is there while production is planned again.
func appliesStaging(t *testing.T, endpoint string, environment []string, applied, planned event) {
	defer applied.done()
	site := site{t: t, endpoint: endpoint}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, platform.EnvironmentsDir), os.DirFS("../terraform/testdata/environments")))
	staging, err := platform.SelectEnvironment(dir, "staging")
	require.NoError(t, err)
	w := infratest.New(t, ".", environment...)
	backend := []string{}
	for _, setting := range staging.Backend() {
		backend = append(backend, "-backend-config="+setting)
	}
	w.Init(backend...)
	require.NoError(t, os.CopyFS(filepath.Join(w.Dir, "environments"), os.DirFS(filepath.Join(dir, platform.EnvironmentsDir))))
	variables := []string{settings(motoSettings), "-var=environment=staging"}
	state := site.applyByPipeline(w, infra.Stage{Backend: infratf.Backend{Config: staging.Backend()}}, infratf.PlanOptions{
		Vars: []string{strings.TrimPrefix(variables[0], "-var="), "environment=staging"},
	})
	p, err := platform.Read(sourcetest.Root("terraform"))
	require.NoError(t, err)
	p, err = p.In(staging)
	require.NoError(t, err)
	site.checkNames(state, p)
	for _, r := range managed(state) {
		for _, attribute := range []string{"name", "alarm_name", "family", "bucket"} {
			name, _ := r.AttributeValues[attribute].(string)
			require.NotRegexp(t, "(^|/)ecs-", name, "%s has a name of production", r.Address)
		}
	}
	applied.done()
	again := w.Plan(variables...)
	require.Empty(t, terraform.Changes(again), "a second plan of staging")
	require.Empty(t, summary.Drift(again), "what AWS has set since is in the state")
	requireMoves(t, w, addressPrefix, []string{"module.platform.", ""}, variables...)
	<-planned.Done()
	w.Run(append([]string{"destroy", "-auto-approve"}, variables...)...) // with a refresh, which completes the order in the changed state
	require.Empty(t, managed(w.State()), "what a destroy of staging leaves in the state")
}

// destroy are the arguments of a destroy of what has just been planned.
var destroy = []string{"destroy", "-auto-approve", "-refresh=false"}

// addressPrefix begins the addresses of the platform's resources.
const addressPrefix = "module.environment.module.platform."

// requireMoves requires that each resource of a state moves to its address, which begins
// with prefix, and that nothing else changes, if the addresses begin as they once did.
func requireMoves(t *testing.T, w *infratest.Workspace, prefix string, once []string, variables ...string) {
	t.Helper()
	in := func(prefix string) string {
		if prefix == "" {
			return ""
		}
		return fmt.Sprintf("%q: %q,", "module", strings.TrimSuffix(prefix, "."))
	}
	state := w.Run("state", "pull")
	for _, old := range once {
		w.Write("before.tfstate", strings.NewReplacer(in(prefix), in(old), `"`+prefix, `"`+old).Replace(state))
		w.Run("state", "push", "-force", "before.tfstate")
		var before, moved []string
		for _, r := range managed(w.State()) {
			before = append(before, r.Address)
		}
		plan := w.Plan(append([]string{"-refresh=false"}, variables...)...)
		require.Empty(t, terraform.Changes(plan), "of a state with %q", old)
		for _, r := range plan.ResourceChanges {
			if r.PreviousAddress != "" {
				require.Equal(t, prefix+strings.TrimPrefix(r.PreviousAddress, old), r.Address)
				moved = append(moved, r.PreviousAddress)
			}
		}
		require.ElementsMatch(t, before, moved, old)
		require.Regexp(t, `^`+regexp.QuoteMeta(old)+`aws_`, before[0])
	}
}

// later is applied with the platform, because the provider waits a minute for it.
const later = `resource "aws_s3_bucket_lifecycle_configuration" "state" {
  count = 0
}

resource "aws_s3_bucket_lifecycle_configuration" "state_logs" {
  count = 0
}
`

// appliesPlatform applies and destroys the platform with the roles of production.
func appliesPlatform(t *testing.T, endpoint string, environment []string, stagingApplied, planned event) {
	defer planned.done()
	recorder := calls.Record(t, endpoint)
	environment = append(slices.Clone(environment), "AWS_ENDPOINT_URL="+recorder.URL)
	site := site{t: t, endpoint: endpoint}
	world := calls.NewWorld(infratest.Account, platform.DefaultRegion)
	planner, applier := newRole(t, "plan", planIdle), newRole(t, "apply", applyIdle)
	main := infratest.New(t, ".", environment...)
	main.Init("-backend-config=bucket=" + stateBucket)
	state := site.apply("platform", main, motoPlatform)
	applier.add(t, world, take(t, recorder))
	p, err := platform.Read(sourcetest.Root("terraform"))
	require.NoError(t, err)
	site.checkNames(state, p)
	site.checkAlarms(state)

	<-stagingApplied.Done()
	main.Init("-reconfigure", "-backend-config=bucket="+stateBucket)
	site.release("backend") // and none of the frontend
	reading := append([]string{"-lock=false"}, motoPlatform...)
	started := time.Now()
	again := main.Plan(reading...)
	require.Empty(t, terraform.Changes(again), "a second plan of the platform, or it would undo a release")
	planned.done()
	site.checkTags(again.PriorState)
	t.Logf("platform: planned again in %.0f s", time.Since(started).Seconds())
	planner.add(t, world, take(t, recorder))

	site.object(http.MethodPut, stateObject+".tflock", `{"ID":"1","Operation":"OperationTypeApply","Who":"somebody"}`)
	require.Contains(t, main.Fail(append([]string{"plan"}, motoPlatform...)...), "Error acquiring the state lock")
	site.object(http.MethodDelete, stateObject+".tflock", "")

	// Every field of the services file that moto supports: its services have no capacity
	// provider strategy, so that every plan would replace one with a share of Spot. The
	// backend gets a progressive strategy: one rule in place of three. The firewall, whose schema
	// takes a third of the CPU time of each command that plans it, is there for one apply and the next.
	features, err := filepath.Abs("testdata/features.tfvars.json")
	require.NoError(t, err)
	withoutFirewall := append(slices.Clone(motoPlatform), "-var-file="+features)
	motoPlatform := []string{settings(motoFeatures + ",waf=true"), "-var-file=" + features}
	started = time.Now()
	more := main.Plan(motoPlatform...)
	require.Zero(t, terraform.Count(more, tfjson.Actions.Replace))
	require.Equal(t, routesOfBackend, addresses(more, tfjson.Actions.Delete), "more entries destroy nothing else")
	main.Run("apply", "plan")
	t.Logf("platform: %d resources of more entries applied in %.0f s", terraform.Count(more, tfjson.Actions.Create), time.Since(started).Seconds())
	made := take(t, recorder)
	applier.add(t, world, made)
	requireCreatedFirst(t, made, "/api", "/api/*", "/health")
	site.shift(main.State())
	again = main.Plan(append([]string{"-lock=false"}, motoPlatform...)...)
	require.Empty(t, terraform.Changes(again), "a second plan of every feature")
	site.checkTags(again.PriorState)
	planner.add(t, world, take(t, recorder))

	// And back, which only has rules to create and delete, what was needed to shift, and the firewall.
	// The plan before has just read all that is there.
	rolling := []string{"-refresh=false", settings(motoFeatures + `,service_overrides={backend={strategy={type="rolling"}}}`), "-var-file=" + features}
	back := main.Plan(rolling...)
	require.Equal(t, routesOfBackend, addresses(back, tfjson.Actions.Create))
	main.Run("apply", "plan")
	made = take(t, recorder)
	applier.add(t, world, made)
	requireCreatedFirst(t, made, "/api")

	started = time.Now()
	main.Run(slices.Concat(destroy, withoutFirewall)...)
	t.Logf("platform: destroyed in %.0f s", time.Since(started).Seconds())
	require.Empty(t, managed(main.State()), "what a destroy leaves in the state")
	applier.add(t, world, take(t, recorder))
	planner.check(t)
	applier.check(t)
}

// routesOfBackend are the rules of the backend without a progressive strategy.
var routesOfBackend = []string{addressPrefix + `aws_lb_listener_rule.route["/api"]`, addressPrefix + `aws_lb_listener_rule.route["/api/*"]`, addressPrefix + `aws_lb_listener_rule.route["/health"]`}

// addresses returns the addresses of resources with matching actions in a plan, sorted.
func addresses(plan *tfjson.Plan, is func(tfjson.Actions) bool) []string {
	var all []string
	for _, r := range plan.ResourceChanges {
		if is(r.Change.Actions) {
			all = append(all, r.Address)
		}
	}
	slices.Sort(all)
	return all
}

// requireCreatedFirst requires that a rule with exactly these patterns is created before any
// rule of its listener is deleted: requests find one or the other.
func requireCreatedFirst(t *testing.T, made []calls.Call, patterns ...string) {
	t.Helper()
	deleted := false
	for n, call := range made {
		var values []string
		for key, value := range call.Form {
			if strings.Contains(key, "PathPatternConfig.Values.member.") {
				values = append(values, value...)
			}
		}
		slices.Sort(values)
		if call.Action != "CreateRule" || !slices.Equal(values, patterns) {
			continue
		}
		for m, other := range made { // a rule's ARN ends with the ids of its listener and of itself
			if other.Action == "DeleteRule" && path.Base(path.Dir(other.Form.Get("RuleArn"))) == path.Base(call.Form.Get("ListenerArn")) {
				require.Less(t, n, m)
				deleted = true
			}
		}
	}
	require.True(t, deleted, "no rule was replaced")
}

// site is moto with the resources of Terraform.
type site struct {
	t        *testing.T
	endpoint string
}

// apply plans and applies a configuration that only creates, and returns the new state.
func (s site) apply(name string, w *infratest.Workspace, variables []string) *tfjson.State {
	s.t.Helper()
	started := time.Now()
	plan := w.Plan(variables...)
	planned, creates := time.Since(started), terraform.Count(plan, tfjson.Actions.Create)
	require.Len(s.t, terraform.Changes(plan), creates, "the first plan only creates")
	w.Run("apply", "plan")
	state := w.State()
	require.Len(s.t, managed(state), creates)
	s.t.Logf("%s: %d resources planned in %.0f s, applied in %.0f s", name, creates, planned.Seconds(), (time.Since(started) - planned).Seconds())
	return state
}

// applyByPipeline is like apply, with the pipeline's own stage.
func (s site) applyByPipeline(w *infratest.Workspace, stage infra.Stage, o infratf.PlanOptions) *tfjson.State {
	s.t.Helper()
	w.Write(".gitignore", ".terraform/\n")
	sourcetest.Git(s.t, w.Dir, "init", "-q")
	sourcetest.Commit(s.t, w.Dir, "platform")
	stage.Tree, stage.Dir, stage.Exec = source.Tree{Dir: w.Dir}, ".", step.Host{Source: w.Dir, Env: w.Environment()}
	started, out := time.Now(), s.t.TempDir()
	planned, err := stage.Plan(s.t.Context(), infra.PlanOptions{PlanOptions: o, Out: out})
	require.NoError(s.t, err)
	require.Len(s.t, planned.Summary.Counts, 1, "the first plan only creates")
	applied, err := stage.Apply(s.t.Context(), infra.ApplyOptions{Plan: out})
	require.NoError(s.t, err)
	require.Len(s.t, applied.Applied, planned.Summary.Counts[summary.Create])
	require.NotEmpty(s.t, applied.Refreshed)
	state := w.State()
	require.Len(s.t, managed(state), len(applied.Applied))
	s.t.Logf("%d resources planned, applied and refreshed in %.0f s", len(applied.Applied), time.Since(started).Seconds())
	return state
}

// checkNames requires the names that the pipeline derives from the same file.
func (s site) checkNames(state *tfjson.State, p platform.Platform) {
	s.t.Helper()
	names := map[string][]any{}
	for _, r := range managed(state) {
		for _, attribute := range []string{"name", "family", "alarm_name"} {
			names[r.Type] = append(names[r.Type], r.AttributeValues[attribute])
		}
	}
	require.Contains(s.t, names["aws_ecs_cluster"], p.Environment.Cluster())
	require.Contains(s.t, names["aws_lb"], p.Environment.LoadBalancer())
	for _, service := range p.Services {
		for kind, name := range map[string]string{
			"aws_ecs_service": service.ServiceName(), "aws_ecs_task_definition": service.Family(), "aws_ecr_repository": service.Repository(),
			"aws_cloudwatch_log_group": service.LogGroup(), "aws_lb_target_group": service.TargetGroup(),
			"aws_cloudwatch_metric_alarm": service.ServiceName() + "-errors",
		} {
			require.Contains(s.t, names[kind], name)
		}
	}
}

// checkTags requires tags on everything that supports them: the apply role may change
// only tagged resources. The state must be that of a second plan: while services are
// created, moto sometimes answers without their tags.
func (s site) checkTags(state *tfjson.State) {
	s.t.Helper()
	tagged := 0
	for _, r := range managed(state) {
		tags, takes := r.AttributeValues["tags_all"].(map[string]any)
		if !takes || r.Type == "aws_cloudwatch_metric_alarm" && len(tags) == 0 {
			continue
		}
		for _, key := range []string{"Project", "Environment", "ManagedBy", "Repository"} {
			require.NotEmpty(s.t, tags[key], "%s has no tag %s", r.Address, key)
		}
		tagged++
	}
	require.Greater(s.t, tagged, 40)
}

// checkAlarms requires every alarm to notify the topic.
func (s site) checkAlarms(state *tfjson.State) {
	s.t.Helper()
	topic := state.Values.Outputs["alarm_topic_arn"].Value
	alarms := 0
	for _, r := range managed(state) {
		if r.Type == "aws_cloudwatch_metric_alarm" {
			require.Equal(s.t, []any{topic}, r.AttributeValues["alarm_actions"], r.Address)
			alarms++
		}
	}
	require.Equal(s.t, 13, alarms)
}

// release changes a service as a release of the pipeline does: a new revision of its
// task definition, and tasks.
func (s site) release(name string) {
	s.t.Helper()
	client := ecs.New(ecs.Options{
		Region: platform.DefaultRegion, BaseEndpoint: &s.endpoint, Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	service := platform.Service{Name: name}
	old, err := client.DescribeTaskDefinition(s.t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(service.Family())})
	require.NoError(s.t, err)
	containers := old.TaskDefinition.ContainerDefinitions
	containers[0].Image = aws.String(strings.Split(*containers[0].Image, ":")[0] + "@sha256:" + strings.Repeat("0", 64))
	revision, err := client.RegisterTaskDefinition(s.t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: old.TaskDefinition.Family, NetworkMode: old.TaskDefinition.NetworkMode, Cpu: old.TaskDefinition.Cpu, Memory: old.TaskDefinition.Memory,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ContainerDefinitions: containers,
		ExecutionRoleArn: old.TaskDefinition.ExecutionRoleArn, TaskRoleArn: old.TaskDefinition.TaskRoleArn,
	})
	require.NoError(s.t, err)
	_, err = client.UpdateService(s.t.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String(platform.Cluster), Service: aws.String(service.ServiceName()),
		TaskDefinition: revision.TaskDefinition.TaskDefinitionArn, DesiredCount: aws.Int32(2),
	})
	require.NoError(s.t, err)
}

// shift gives all traffic of the backend to its second target group, as ECS does.
func (s site) shift(state *tfjson.State) {
	s.t.Helper()
	client := elb.New(elb.Options{
		Region: platform.DefaultRegion, BaseEndpoint: &s.endpoint, Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	arns := map[string]*string{}
	for _, r := range managed(state) {
		if arn, ok := r.AttributeValues["arn"].(string); ok {
			arns[r.Address] = &arn
		}
	}
	for _, rule := range []string{"production", "test"} {
		_, err := client.ModifyRule(s.t.Context(), &elb.ModifyRuleInput{
			RuleArn: arns[addressPrefix+`aws_lb_listener_rule.`+rule+`["backend"]`],
			Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, ForwardConfig: &elbtypes.ForwardActionConfig{TargetGroups: []elbtypes.TargetGroupTuple{
				{TargetGroupArn: arns[addressPrefix+`aws_lb_target_group.service["backend"]`], Weight: aws.Int32(0)},
				{TargetGroupArn: arns[addressPrefix+`aws_lb_target_group.service["backend alternate"]`], Weight: aws.Int32(100)},
			}}}},
		})
		require.NoError(s.t, err)
	}
}

// object puts or deletes an object in S3.
func (s site) object(method, path, content string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.endpoint+path, strings.NewReader(content))
	require.NoError(s.t, err)
	const payload = "UNSIGNED-PAYLOAD"
	request.Header.Set("X-Amz-Content-Sha256", payload)
	key := aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}
	require.NoError(s.t, v4.NewSigner().SignHTTP(s.t.Context(), key, request, payload, "s3", platform.DefaultRegion, time.Now()))
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Do(request)
	require.NoError(s.t, err)
	require.NoError(s.t, response.Body.Close())
	require.Less(s.t, response.StatusCode, 300)
}

// managed returns the managed resources of the root module and of those that it calls.
func managed(state *tfjson.State) (all []*tfjson.StateResource) {
	if state.Values == nil || state.Values.RootModule == nil {
		return nil
	}
	for modules := []*tfjson.StateModule{state.Values.RootModule}; len(modules) > 0; {
		for _, r := range modules[0].Resources {
			if r.Mode == tfjson.ManagedResourceMode {
				all = append(all, r)
			}
		}
		modules = append(modules[1:], modules[0].ChildModules...)
	}
	return all
}
