package ecs

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/rehearse/localaws/task"
)

// initialCheckInterval is the nominal interval of checks until a container is healthy
// for the first time. Docker waits a whole interval each time. Checking more often only
// finds a healthy container sooner: a failure counts at most once per interval.
const initialCheckInterval = time.Second

// minCheckTimeout is the minimum timeout of a health check command in real time,
// whatever the clock's scale.
const minCheckTimeout = 2 * time.Second

// healthCheck is a container's health check, with ECS's defaults.
type healthCheck struct {
	command                        []string
	interval, timeout, startPeriod time.Duration
	retries                        int
}

// newHealthCheck returns the health check of a container definition, or nil for none.
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

// runHealthCheck runs a container's health check until the container exits.
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

// setHealth sets a container's health status and derives the task's. The lock is held.
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

// dependencyPoll is how often a condition of dependsOn is checked, in real time.
const dependencyPoll = 10 * time.Millisecond

// defaultStartTimeout is how long a container waits for its dependencies.
const defaultStartTimeout = 3 * time.Minute

// waitForDependencies waits until the conditions of a container's dependsOn are met.
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

// dependencyMet reports whether a container meets a condition. An error means that it
// never will.
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
	default: // START: dependencies are started first
		return true, nil
	}
}

// startOrder sorts containers so that each comes after its dependencies. invalid is a
// container that is unknown or part of a cycle, if any.
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
