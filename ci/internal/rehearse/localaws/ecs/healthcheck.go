package ecs

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/rehearse/localaws/task"
)

// firstChecks is how often a container is checked, nominally, until it has been
// healthy once. Docker waits a whole interval each time; asking more often only
// finds a good answer sooner, a bad one counts once an interval all the same.
const initialCheckInterval = time.Second

// shortestCheck is the least real time a health check command may take, however
// fast the clock runs.
const minCheckTimeout = 2 * time.Second

// containerCheck is a container's health check with ECS's defaults filled in.
type healthCheck struct {
	command                        []string
	interval, timeout, startPeriod time.Duration
	retries                        int
}

// checkOf reads a health check; nil means that there is none.
func newHealthCheck(h *types.HealthCheck) *healthCheck {
	if h == nil || len(h.Command) == 0 || h.Command[0] == "NONE" {
		return nil
	}
	seconds := func(p *int32, defaultValue int32) time.Duration {
		if p != nil {
			defaultValue = *p
		}
		return time.Duration(defaultValue) * time.Second
	}
	c := &healthCheck{
		interval: seconds(h.Interval, 30), timeout: seconds(h.Timeout, 5), startPeriod: seconds(h.StartPeriod, 0), retries: 3,
	}
	if h.Retries != nil {
		c.retries = int(*h.Retries)
	}
	switch h.Command[0] {
	case "CMD":
		c.command = h.Command[1:]
	case "CMD-SHELL":
		c.command = append([]string{"/bin/sh", "-c"}, h.Command[1:]...)
	default:
		c.command = append([]string{"/bin/sh", "-c"}, h.Command...)
	}
	return c
}

// monitor runs a container's health check until the container ends.
func (t *taskRun) runHealthCheck(ctx context.Context, p *container, check *healthCheck) {
	clock := t.c.cfg.Clock
	startedAt := time.Now()
	countFrom := startedAt.Add(clock.Scale(max(check.startPeriod, check.interval)))
	failed, wasHealthy := 0, false
	for {
		wait := check.interval
		if !wasHealthy {
			wait = min(initialCheckInterval, check.interval)
		}
		if clock.Sleep(ctx, wait) != nil || hasExited(p.run) {
			return
		}
		deadline, cancel := context.WithTimeout(ctx, clock.AtLeast(check.timeout, minCheckTimeout))
		err := p.run.Check(deadline, check.command)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed, wasHealthy = 0, true
			t.locked(func() { t.setHealth(p, types.HealthStatusHealthy) })
		case wasHealthy || !time.Now().Before(countFrom):
			failed++
			countFrom = time.Now().Add(clock.Scale(check.interval))
		}
		if failed >= check.retries {
			t.locked(func() { t.setHealth(p, types.HealthStatusUnhealthy) })
		}
	}
}

// setHealth notes a container's health and draws the task's from it. The lock is
// held.
func (t *taskRun) setHealth(p *container, health types.HealthStatus) {
	t.record.Containers[slices.Index(t.containers, p)].HealthStatus = health
	p.health = health
	overall := types.HealthStatusHealthy
	for _, other := range t.containers {
		if !aws.ToBool(other.definition.Essential) || newHealthCheck(other.definition.HealthCheck) == nil {
			continue
		}
		switch other.health {
		case types.HealthStatusUnhealthy:
			overall = types.HealthStatusUnhealthy
		case types.HealthStatusUnknown:
			if overall == types.HealthStatusHealthy {
				overall = types.HealthStatusUnknown
			}
		}
	}
	if t.record.HealthStatus != overall {
		t.record.HealthStatus = overall
		t.wakeService()
	}
}

// dependencyPoll is how often a condition of dependsOn is looked at, in real time.
const dependencyPoll = 10 * time.Millisecond

// standardStartTimeout is how long a container waits for those it depends on.
const defaultStartTimeout = 3 * time.Minute

// await waits until every container that p depends on is as dependsOn says.
func (t *taskRun) waitForDependencies(ctx context.Context, p *container) error {
	limit := defaultStartTimeout
	if p.definition.StartTimeout != nil {
		limit = time.Duration(*p.definition.StartTimeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, t.c.cfg.Clock.AtLeast(limit, minCheckTimeout))
	defer cancel()
	for _, d := range p.definition.DependsOn {
		i := slices.IndexFunc(t.containers, func(o *container) bool { return *o.definition.Name == aws.ToString(d.ContainerName) })
		tick := time.NewTicker(dependencyPoll)
		for {
			met, err := t.dependencyMet(t.containers[i], d.Condition)
			if met || err != nil {
				tick.Stop()
				if err != nil {
					return err
				}
				break
			}
			select {
			case <-ctx.Done():
				tick.Stop()
				return initializationError("container %s timed out waiting for its dependencies", *p.definition.Name)
			case <-tick.C:
			}
		}
	}
	return nil
}

func hasExited(run task.Container) bool {
	select {
	case <-run.Done():
		return true
	default:
		return false
	}
}

// met says whether a container is in a condition, or never will be.
func (t *taskRun) dependencyMet(p *container, condition types.ContainerCondition) (bool, error) {
	exited, name := hasExited(p.run), *p.definition.Name
	switch condition {
	case types.ContainerConditionComplete:
		return exited, nil
	case types.ContainerConditionSuccess:
		if exited && p.run.ExitCode() != 0 {
			return false, initializationError("dependency container %s did not exit successfully", name)
		}
		return exited, nil
	case types.ContainerConditionHealthy:
		if exited {
			return false, initializationError("dependency container %s exited before it was healthy", name)
		}
		t.c.mu.Lock()
		defer t.c.mu.Unlock()
		return p.health == types.HealthStatusHealthy, nil
	default: // START: it was started before
		return true, nil
	}
}

// startOrder sorts containers so that each comes after those it depends on. It
// says which container is part of a circle, if any, or depends on an unknown one.
func startOrder(definitions []types.ContainerDefinition) (order []int, invalid string) {
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
		order = append(order, i)
		return ""
	}
	for i := range definitions {
		if invalid := visit(i); invalid != "" {
			return nil, invalid
		}
	}
	return order, ""
}
