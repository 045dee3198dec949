package rehearsal

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/rollout"
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
)

// Scenarios lists them all.
func Scenarios() []Scenario {
	return []Scenario{Happy, Crash, Unhealthy, MissingImage, Hang, Cancel}
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
func (s Scenario) faulty() bool { return s == Crash || s == Unhealthy || s == Hang }

// errInterrupted is the cause of a release that the cancel scenario interrupts.
var errInterrupted = outcome.Interruption("interrupted half-way, as the scenario has it")

// stage puts the scenario's mishap between the release and ECS. Whatever the
// release is, it does not know.
func (s Scenario) stage(api rollout.ECS, images *ecr.Client, victim platform.Service, interrupt context.CancelCauseFunc) rollout.ECS {
	switch s {
	case MissingImage:
		return &imageRemover{ECS: api, images: images, victim: victim}
	case Cancel:
		return &interrupter{ECS: api, interrupt: interrupt}
	}
	return api
}

// imageRemover deletes the victim's new image once the release has registered
// it, as a lifecycle policy does that counts too few.
type imageRemover struct {
	rollout.ECS
	images *ecr.Client
	victim platform.Service
}

func (r *imageRemover) RegisterTaskDefinition(ctx context.Context, input *ecs.RegisterTaskDefinitionInput, options ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error) {
	out, err := r.ECS.RegisterTaskDefinition(ctx, input, options...)
	if err != nil || aws.ToString(input.Family) != r.victim.Family() {
		return out, err
	}
	_, digest, _ := strings.Cut(aws.ToString(input.ContainerDefinitions[0].Image), "@")
	_, err = r.images.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{
		RepositoryName: aws.String(r.victim.Repository()),
		ImageIds:       []ecrtypes.ImageIdentifier{{ImageDigest: &digest}},
	})
	if err != nil {
		return nil, fmt.Errorf("removing the image for the scenario %q: %w", MissingImage, err)
	}
	return out, nil
}

// interrupter interrupts the release once it has seen a task of the new
// version run.
type interrupter struct {
	rollout.ECS
	interrupt context.CancelCauseFunc
	once      sync.Once
}

func (i *interrupter) DescribeServices(ctx context.Context, input *ecs.DescribeServicesInput, options ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	out, err := i.ECS.DescribeServices(ctx, input, options...)
	if err != nil {
		return out, err
	}
	for _, service := range out.Services {
		if len(service.Deployments) > 1 && service.Deployments[0].RunningCount > 0 {
			i.once.Do(func() { i.interrupt(errInterrupted) })
		}
	}
	return out, nil
}
