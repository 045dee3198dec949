package rollout

import (
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Containers are the containers of a task definition.
type Containers struct {
	Main        string // name of the main container
	OneOff      bool   // a standalone task, which ends when the main container ends
	Definitions []types.ContainerDefinition
}

// failed returns the container that ended a task: the one with the most likely cause, and
// of several the main one. If none has a cause it is the main one, or nil.
func (s Containers) failed(task types.Task) *types.Container {
	var found *types.Container
	best := 0
	for i := range task.Containers {
		c := &task.Containers[i]
		likely := s.likelihood(task, c)
		if isOwn := aws.ToString(c.Name) == s.Main; isOwn {
			likely = 2*likely + 1
		} else {
			likely *= 2
		}
		if likely > best {
			found, best = c, likely
		}
	}
	return found
}

// Exit codes of containers that ECS stopped, with SIGTERM and then with SIGKILL.
const (
	exitKilled     = 128 + 9
	exitTerminated = 128 + 15
)

// dependency matches the reason of a container that was not started because of another one.
var dependency = regexp.MustCompile(`(?i)depend`)

// likelihood ranks how likely a container ended its task; 0 means that it did not.
//
// An essential container that ends stops all others, which then end with the exit code of a
// signal. If ECS stopped the task, only a failed health check is a cause in a container.
func (s Containers) likelihood(task types.Task, c *types.Container) int {
	unhealthy := c.HealthStatus == types.HealthStatusUnhealthy
	counts := s.essential(c) || s.blocksStart(task, c)
	code := aws.ToInt32(c.ExitCode)
	switch reason := aws.ToString(c.Reason); {
	case unhealthy && counts:
		return 6
	case task.StopCode != "" && task.StopCode != types.TaskStopCodeEssentialContainerExited && task.StopCode != types.TaskStopCodeTaskFailedToStart:
		return 0
	case reason != "" && !dependency.MatchString(reason), s.namesImage(task, c):
		return likelihoodIf(5, counts)
	case code != 0 && code != exitKilled && code != exitTerminated, s.OneOff && code == exitKilled && aws.ToString(c.Name) == s.Main:
		return likelihoodIf(4, counts)
	case c.ExitCode != nil && code == 0 && s.essential(c):
		return 3
	case code != 0:
		return likelihoodIf(2, counts)
	case reason != "":
		return 1
	}
	return 0
}

// likelihoodIf returns a likelihood, or a low one if the container does not count: the task
// does not need it.
func likelihoodIf(likelihood int, counts bool) int {
	if counts {
		return likelihood
	}
	return 1
}

// definition returns the definition of a container.
func (s Containers) definition(name string) types.ContainerDefinition {
	n := slices.IndexFunc(s.Definitions, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == name })
	if n < 0 {
		return types.ContainerDefinition{}
	}
	return s.Definitions[n]
}

// essential reports whether a container is essential, which is ECS's default.
func (s Containers) essential(c *types.Container) bool {
	essential := s.definition(aws.ToString(c.Name)).Essential
	return essential == nil || *essential
}

// blocksStart reports whether a container that depends on another one was not started.
func (s Containers) blocksStart(task types.Task, on *types.Container) bool {
	return slices.ContainsFunc(task.Containers, func(c types.Container) bool {
		return c.ExitCode == nil && slices.ContainsFunc(s.definition(aws.ToString(c.Name)).DependsOn, func(dependency types.ContainerDependency) bool {
			return aws.ToString(dependency.ContainerName) == aws.ToString(on.Name)
		})
	})
}

// namesImage reports whether the stop reason of a task is about the image of a container.
func (s Containers) namesImage(task types.Task, c *types.Container) bool {
	image := aws.ToString(s.definition(aws.ToString(c.Name)).Image)
	return image != "" && pull.MatchString(aws.ToString(task.StoppedReason)) && strings.Contains(aws.ToString(task.StoppedReason), image)
}

// named returns the name of a container in brackets, "" for the main one.
func (s Containers) named(c *types.Container) string {
	name := aws.ToString(c.Name)
	switch {
	case name == s.Main:
		return ""
	case !s.essential(c):
		return " (container " + name + ", on which another one depends)"
	}
	return " (container " + name + ")"
}
