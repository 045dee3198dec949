package ecs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// dependencyError reports a container that is not started because its dependencies can
// never be met, with the message of the ECS agent.
type dependencyError struct{ text string }

func (e *dependencyError) Error() string {
	return "CannotStartContainerError: dependency graph: " + e.text
}

// dependsOn reports whether a container's dependsOn lists another container.
func (p *container) dependsOn(other *container) bool {
	return slices.ContainsFunc(p.definition.DependsOn, func(d types.ContainerDependency) bool { return *d.ContainerName == other.name() })
}

// waitForDependencies waits until the conditions of a container's dependsOn are met.
func (t *taskRun) waitForDependencies(ctx context.Context, p *container) error {
	for {
		var met bool
		var timeout time.Duration
		var err error
		var changed chan struct{}
		t.locked(func() {
			met, timeout, err = t.dependenciesMet(p)
			changed = t.changed
		})
		if met || err != nil {
			return err
		}
		timer := time.NewTimer(timeout)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// maxDependencyWait is after what time the dependencies of a container are checked again
// if nothing changes, in real time. It is a safety net.
const maxDependencyWait = time.Hour

// dependenciesMet reports whether a container's dependencies are met, or otherwise when
// the next of them times out. An error means that they never will be. The lock is held.
func (t *taskRun) dependenciesMet(p *container) (met bool, timeout time.Duration, err error) {
	met, timeout = true, maxDependencyWait
	for _, d := range p.definition.DependsOn {
		i := slices.IndexFunc(t.containers, func(o *container) bool { return o.name() == *d.ContainerName })
		dependency := t.containers[i]
		ok, reason := dependency.meets(d.Condition)
		if !ok && reason == "" {
			if left, limited := t.startTimeLeft(dependency, d.Condition); limited {
				timeout = min(timeout, left)
				if left <= 0 {
					return false, 0, &dependencyError{fmt.Sprintf("container ordering dependency [%s] for target [%s] has timed out.", dependency.name(), p.name())}
				}
			}
		}
		if reason != "" {
			return false, 0, &dependencyError{fmt.Sprintf("failed to resolve container ordering dependency [%s] for target [%s] %s", dependency.name(), p.name(), reason)}
		}
		met = met && ok
	}
	return met, timeout, nil
}

// meets reports whether a container meets a condition, or why it never will.
func (p *container) meets(condition types.ContainerCondition) (met bool, never string) {
	if p.notStarted {
		return false, "because dependency will never start"
	}
	switch condition {
	case types.ContainerConditionComplete:
		return p.exited, ""
	case types.ContainerConditionSuccess:
		if p.exited && p.run.ExitCode() != 0 {
			return false, "as dependency did not exit successfully."
		}
		return p.exited, ""
	case types.ContainerConditionHealthy:
		if p.exited {
			return false, "as dependency exited before it was healthy."
		}
		return p.health == types.HealthStatusHealthy, ""
	default: // START
		return p.run != nil, ""
	}
}

// startTimeLeft returns how much of a dependency's startTimeout is left. limited is false
// if it has none, has not started, or need only start.
func (t *taskRun) startTimeLeft(p *container, condition types.ContainerCondition) (left time.Duration, limited bool) {
	seconds := aws.ToInt32(p.definition.StartTimeout)
	if seconds <= 0 || p.run == nil || p.exited || condition == types.ContainerConditionStart {
		return 0, false
	}
	limit := t.c.cfg.Clock.AtLeast(time.Duration(seconds)*time.Second, minCheckTimeout)
	return limit - time.Since(p.startedAt), true
}

// invalidDependency returns the name of a container in dependsOn that is unknown or part
// of a cycle, or "".
func invalidDependency(definitions []types.ContainerDefinition) string {
	index := map[string]int{}
	for i, d := range definitions {
		index[aws.ToString(d.Name)] = i
	}
	const visiting, visited = 1, 2
	state := make([]int, len(definitions))
	var visit func(i int) string
	visit = func(i int) string {
		switch state[i] {
		case visited:
			return ""
		case visiting:
			return aws.ToString(definitions[i].Name)
		}
		state[i] = visiting
		for _, d := range definitions[i].DependsOn {
			j, ok := index[aws.ToString(d.ContainerName)]
			if !ok {
				return aws.ToString(d.ContainerName)
			}
			if invalid := visit(j); invalid != "" {
				return invalid
			}
		}
		state[i] = visited
		return ""
	}
	for i := range definitions {
		if invalid := visit(i); invalid != "" {
			return invalid
		}
	}
	return ""
}
