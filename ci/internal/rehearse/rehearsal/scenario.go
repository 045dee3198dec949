package rehearsal

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Scenario is the fault that a rehearsal injects.
type Scenario string

// The scenarios.
const (
	Happy        Scenario = "happy"         // no fault
	Crash        Scenario = "crash"         // the new version exits with 1 at its start
	Unhealthy    Scenario = "unhealthy"     // it responds with 500 on its health path
	MissingImage Scenario = "missing-image" // its image is deleted before tasks pull it
	Hang         Scenario = "hang"          // it never listens
	Cancel       Scenario = "cancel"        // the release is interrupted during the rollout
	WrongVersion Scenario = "wrong-version" // it is healthy but reports another version
	Alarm        Scenario = "alarm"         // a deployment alarm is set during the rollout
	Stopped      Scenario = "stopped"       // an operator stops the deployment
	Replaced     Scenario = "replaced"      // an operator deploys another revision
	Killed       Scenario = "killed"        // the process is killed after its first update, and another one continues
	LostAnswers  Scenario = "lost-answers"  // changes in ECS succeed, but their responses are lost
	Throttled    Scenario = "throttled"     // ECS throttles three calls of ten
	Outage       Scenario = "outage"        // ECS is unreachable for a while during the rollout

	// These shift traffic.
	BadCanary      Scenario = "bad-canary"       // the new version responds with 500 to production requests only
	AlarmInBake    Scenario = "alarm-in-bake"    // a deployment alarm is set during the bake
	HookTimeout    Scenario = "hook-timeout"     // nobody continues the paused release
	KilledPaused   Scenario = "killed-paused"    // the process is killed while the release waits, and others continue
	ForeignWeights Scenario = "foreign-weights"  // somebody changed the weights of the target's listener rule before
	OneOfThreeBad  Scenario = "one-of-three-bad" // one of three services fails its test
)

// Scenarios returns all scenarios.
func Scenarios() []Scenario {
	return []Scenario{
		Happy, Crash, Unhealthy, MissingImage, Hang, Cancel, WrongVersion, Alarm, Stopped, Replaced, Killed, LostAnswers, Throttled, Outage,
		BadCanary, AlarmInBake, HookTimeout, KilledPaused, ForeignWeights, OneOfThreeBad,
	}
}

// ParseScenario returns the scenario with a name. An unknown name is a usage error.
func ParseScenario(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios() {
		if string(s) == name {
			return s, nil
		}
		names = append(names, string(s))
	}
	return "", outcome.Usagef("invalid --scenario %q: want one of %s", name, strings.Join(names, ", "))
}

// fault returns the fault of the faulty app that replaces the new version's program, "" for
// none.
func (s Scenario) fault() string {
	switch s {
	case Crash, Unhealthy, Hang, WrongVersion, BadCanary:
		return string(s)
	case OneOfThreeBad:
		return string(WrongVersion)
	}
	return ""
}

// errInterrupted is the cause of the interruption in the cancel scenario.
var errInterrupted = outcome.Interruption("interrupted by the rehearsal's scenario")

// faultEnvironment is what faults need. Their calls are not the delivery's.
type faultEnvironment struct {
	*environment
	server    *localaws.Server
	target    platform.Service
	interrupt context.CancelCauseFunc
}

// Settings of faults.
const (
	throttledShare = 0.3
	outageLength   = 3 * time.Second
)

// inject returns a transport for the delivery that injects the scenario's fault between
// it and the embedded AWS.
func (s Scenario) inject(ctx context.Context, to http.RoundTripper, faults faultEnvironment) http.RoundTripper {
	switch s {
	case MissingImage:
		return &interceptor{next: to, after: func(call apiCall, _ []byte) { faults.deleteImage(ctx, call) }}
	case Cancel:
		return onFirstNewTask(to, func() { faults.interrupt(errInterrupted) })
	case Killed:
		return killAfterUpdate(to, func() { faults.interrupt(errKilled) })
	case KilledPaused:
		return killAfter(to, func(c apiCall, output []byte) bool {
			return len(waiting(c, output)) > 0
		}, func() { faults.interrupt(errKilled) })
	case Alarm:
		return onFirstNewTask(to, func() { faults.server.SetAlarm(alarmName(faults.target), true) })
	case AlarmInBake:
		return onBake(to, faults.target, func() { faults.server.SetAlarm(alarmName(faults.target), true) })
	case ForeignWeights:
		faults.changeWeights(ctx)
	case Stopped:
		return onFirstNewTask(to, func() { faults.stopDeployment(ctx) })
	case Replaced:
		return onFirstNewTask(to, func() { faults.deployHotfix(ctx) })
	case LostAnswers:
		for _, action := range []string{"RegisterTaskDefinition", "UpdateService"} {
			faults.server.Inject(localaws.Fault{Kind: localaws.LostResponse, Service: "ecs", Action: action, Times: 1})
		}
	case Throttled:
		faults.server.Inject(localaws.Fault{Kind: localaws.Throttle, Service: "ecs", Rate: throttledShare})
	case Outage:
		return onFirstNewTask(to, func() {
			time.AfterFunc(outageLength, faults.server.Inject(localaws.Fault{Kind: localaws.Reset, Service: "ecs"}))
		})
	}
	return to
}

// changeWeights sends a tenth of the target's traffic to its other target group, as somebody
// does who shifts traffic by hand and forgets it.
func (e faultEnvironment) changeWeights(ctx context.Context) {
	shift := e.shifts[e.target.Name]
	_, _ = e.elb.ModifyRule(ctx, &elb.ModifyRuleInput{RuleArn: &shift.ProductionRule, Actions: []elbtypes.Action{forwardTo(shift, 90, 10)}}) // as below
}

// stopDeployment stops the target's deployment, as an operator does in the console.
func (e faultEnvironment) stopDeployment(ctx context.Context) {
	list, err := e.ecs.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: aws.String(e.target.ClusterName()), Service: aws.String(e.target.ServiceName()),
	})
	if err != nil || len(list.ServiceDeployments) == 0 {
		return // the scenario's result shows that nothing was stopped
	}
	_, _ = e.ecs.StopServiceDeployment(ctx, &ecs.StopServiceDeploymentInput{
		ServiceDeploymentArn: list.ServiceDeployments[0].ServiceDeploymentArn, StopType: ecstypes.StopServiceDeploymentStopTypeRollback,
	})
}

// deployHotfix deploys another revision of the target, as an operator does for a hotfix.
func (e faultEnvironment) deployHotfix(ctx context.Context) {
	definition, err := e.ecs.RegisterTaskDefinition(ctx, e.definitions.define(e.target))
	if err != nil {
		return // as above
	}
	_, _ = e.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: aws.String(e.target.ClusterName()), Service: aws.String(e.target.ServiceName()), TaskDefinition: definition.TaskDefinition.TaskDefinitionArn,
	})
}

// deleteImage deletes the target's new image once its revision is registered, as a too
// strict lifecycle policy does.
func (e faultEnvironment) deleteImage(ctx context.Context, call apiCall) {
	var in struct {
		Family               string
		ContainerDefinitions []struct{ Image string }
	}
	if call.action != "RegisterTaskDefinition" || json.Unmarshal(call.input, &in) != nil || in.Family != e.target.Family() {
		return
	}
	_, digest, _ := strings.Cut(in.ContainerDefinitions[0].Image, "@")
	_, _ = e.ecr.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{ // as above
		RepositoryName: aws.String(e.target.Repository()), ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: &digest}},
	})
}
