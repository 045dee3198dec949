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

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/rehearse/localaws"
	"dagger/slipway/internal/report/outcome"
)

// Scenario is what happens to the new version.
type Scenario string

// The scenarios.
const (
	Happy        Scenario = "happy"         // all goes well
	Crash        Scenario = "crash"         // exits with 1 at its start
	Unhealthy    Scenario = "unhealthy"     // answers 500 on its health path
	MissingImage Scenario = "missing-image" // its image is gone when tasks pull it
	Hang         Scenario = "hang"          // never listens
	Cancel       Scenario = "cancel"        // the release is interrupted half-way
	WrongVersion Scenario = "wrong-version" // healthy, and not what it should be
	Alarm        Scenario = "alarm"         // a deployment alarm goes off half-way
	Stopped      Scenario = "stopped"       // somebody stops the deployment half-way
	Replaced     Scenario = "replaced"      // somebody else deploys half-way
	Killed       Scenario = "killed"        // the process is killed after its first change, and another one carries on
	LostAnswers  Scenario = "lost-answers"  // ECS takes changes whose answers never come
	Throttled    Scenario = "throttled"     // ECS refuses three calls of ten
	Outage       Scenario = "outage"        // ECS cannot be reached for a while, half-way
)

// Scenarios lists them all.
func Scenarios() []Scenario {
	return []Scenario{
		Happy, Crash, Unhealthy, MissingImage, Hang, Cancel, WrongVersion, Alarm, Stopped, Replaced, Killed, LostAnswers, Throttled, Outage,
	}
}

// ParseScenario finds a scenario by its name; an unknown one is a usage error.
func ParseScenario(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios() {
		if string(s) == name {
			return s, nil
		}
		names = append(names, string(s))
	}
	return "", outcome.Usagef("no scenario %q: take one of %s", name, strings.Join(names, ", "))
}

// faulty tells whether the new version's program is replaced by one that fails.
func (s Scenario) usesFaultyApp() bool {
	return s == Crash || s == Unhealthy || s == Hang || s == WrongVersion
}

// errInterrupted is the cause of a release that the cancel scenario interrupts.
var errInterrupted = outcome.Interruption("interrupted half-way, as the scenario has it")

// stagehand has at hand what a scenario needs for its mishap. Its site is that of
// the others: no mishap is of the delivery's own making.
type faultEnvironment struct {
	*environment
	server    *localaws.Server
	target    platform.Service
	interrupt context.CancelCauseFunc
}

// Sizes of mishaps.
const (
	throttledShare = 0.3
	outageLength   = 3 * time.Second
)

// stage puts the scenario's mishap between the delivery and the embedded AWS.
// Whatever the delivery is, it does not know.
func (s Scenario) inject(ctx context.Context, to http.RoundTripper, env faultEnvironment) http.RoundTripper {
	switch s {
	case MissingImage:
		return &interceptor{next: to, after: func(call apiCall, _ []byte) { env.deleteImage(ctx, call) }}
	case Cancel:
		return onFirstNewTask(to, func() { env.interrupt(errInterrupted) })
	case Killed:
		return killAfterUpdate(to, func() { env.interrupt(errKilled) })
	case Alarm:
		return onFirstNewTask(to, func() { env.server.SetAlarm(alarmName(env.target), true) })
	case Stopped:
		return onFirstNewTask(to, func() { env.stopDeployment(ctx) })
	case Replaced:
		return onFirstNewTask(to, func() { env.deployHotfix(ctx) })
	case LostAnswers:
		for _, action := range []string{"RegisterTaskDefinition", "UpdateService"} {
			env.server.Inject(localaws.Fault{Kind: localaws.LostResponse, Service: "ecs", Action: action, Times: 1})
		}
	case Throttled:
		env.server.Inject(localaws.Fault{Kind: localaws.Throttle, Service: "ecs", Rate: throttledShare})
	case Outage:
		return onFirstNewTask(to, func() {
			time.AfterFunc(outageLength, env.server.Inject(localaws.Fault{Kind: localaws.Reset, Service: "ecs"}))
		})
	}
	return to
}

// stopDeployment stops the victim's deployment, as somebody does at the console.
func (h faultEnvironment) stopDeployment(ctx context.Context) {
	list, err := h.ecs.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: aws.String(platform.Cluster), Service: aws.String(h.target.ServiceName()),
	})
	if err != nil || len(list.ServiceDeployments) == 0 {
		return // the scenario's result tells that nothing was stopped
	}
	_, _ = h.ecs.StopServiceDeployment(ctx, &ecs.StopServiceDeploymentInput{
		ServiceDeploymentArn: list.ServiceDeployments[0].ServiceDeploymentArn, StopType: ecstypes.StopServiceDeploymentStopTypeRollback,
	})
}

// deployOther deploys a revision of its own to the victim, as a hotfix by hand.
func (h faultEnvironment) deployHotfix(ctx context.Context) {
	images, err := h.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(h.target.Family() + ":1")})
	if err != nil {
		return // as above
	}
	definition, err := h.ecs.RegisterTaskDefinition(ctx, taskDefinition(h.target, aws.ToString(images.TaskDefinition.ContainerDefinitions[0].Image)))
	if err != nil {
		return
	}
	_, _ = h.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: aws.String(platform.Cluster), Service: aws.String(h.target.ServiceName()), TaskDefinition: definition.TaskDefinition.TaskDefinitionArn,
	})
}

// removeImage deletes the victim's new image once its revision is registered, as a
// lifecycle policy does that counts too few.
func (h faultEnvironment) deleteImage(ctx context.Context, call apiCall) {
	var in struct {
		Family               string
		ContainerDefinitions []struct{ Image string }
	}
	if call.action != "RegisterTaskDefinition" || json.Unmarshal(call.input, &in) != nil || in.Family != h.target.Family() {
		return
	}
	_, digest, _ := strings.Cut(in.ContainerDefinitions[0].Image, "@")
	_, _ = h.ecr.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{ // as above
		RepositoryName: aws.String(h.target.Repository()), ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: &digest}},
	})
}
