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
const firstChecks = time.Second

// shortestCheck is the least real time a health check command may take, however
// fast the clock runs.
const shortestCheck = 2 * time.Second

// containerCheck is a container's health check with ECS's defaults filled in.
type containerCheck struct {
	command                        []string
	interval, timeout, startPeriod time.Duration
	retries                        int
}

// checkOf reads a health check; nil means that there is none.
func checkOf(h *types.HealthCheck) *containerCheck {
	if h == nil || len(h.Command) == 0 || h.Command[0] == "NONE" {
		return nil
	}
	seconds := func(p *int32, standard int32) time.Duration {
		if p != nil {
			standard = *p
		}
		return time.Duration(standard) * time.Second
	}
	c := &containerCheck{
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
func (t *taskRun) monitor(ctx context.Context, p *part, check *containerCheck) {
	clock := t.c.cfg.Clock
	began := time.Now()
	counting := began.Add(clock.Scaled(max(check.startPeriod, check.interval)))
	failed, proven := 0, false
	for {
		wait := check.interval
		if !proven {
			wait = min(firstChecks, check.interval)
		}
		if clock.Sleep(ctx, wait) != nil || ended(p.run) {
			return
		}
		deadline, cancel := context.WithTimeout(ctx, clock.AtLeast(check.timeout, shortestCheck))
		err := p.run.Check(deadline, check.command)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed, proven = 0, true
			t.update(func() { t.setHealth(p, types.HealthStatusHealthy) })
		case proven || !time.Now().Before(counting):
			failed++
			counting = time.Now().Add(clock.Scaled(check.interval))
		}
		if failed >= check.retries {
			t.update(func() { t.setHealth(p, types.HealthStatusUnhealthy) })
		}
	}
}

// setHealth notes a container's health and draws the task's from it. The lock is
// held.
func (t *taskRun) setHealth(p *part, health types.HealthStatus) {
	t.record.Containers[slices.Index(t.parts, p)].HealthStatus = health
	p.health = health
	overall := types.HealthStatusHealthy
	for _, other := range t.parts {
		if !aws.ToBool(other.definition.Essential) || checkOf(other.definition.HealthCheck) == nil {
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
		t.poke()
	}
}

// dependencyPoll is how often a condition of dependsOn is looked at, in real time.
const dependencyPoll = 10 * time.Millisecond

// standardStartTimeout is how long a container waits for those it depends on.
const standardStartTimeout = 3 * time.Minute

// await waits until every container that p depends on is as dependsOn says.
func (t *taskRun) await(ctx context.Context, p *part) error {
	limit := standardStartTimeout
	if p.definition.StartTimeout != nil {
		limit = time.Duration(*p.definition.StartTimeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, t.c.cfg.Clock.AtLeast(limit, shortestCheck))
	defer cancel()
	for _, d := range p.definition.DependsOn {
		i := slices.IndexFunc(t.parts, func(o *part) bool { return *o.definition.Name == aws.ToString(d.ContainerName) })
		tick := time.NewTicker(dependencyPoll)
		for {
			met, err := t.met(t.parts[i], d.Condition)
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
				return resourceError("container %s timed out waiting for its dependencies", *p.definition.Name)
			case <-tick.C:
			}
		}
	}
	return nil
}

func ended(run task.Container) bool {
	select {
	case <-run.Done():
		return true
	default:
		return false
	}
}

// met says whether a container is in a condition, or never will be.
func (t *taskRun) met(p *part, condition types.ContainerCondition) (bool, error) {
	ended, name := ended(p.run), *p.definition.Name
	switch condition {
	case types.ContainerConditionComplete:
		return ended, nil
	case types.ContainerConditionSuccess:
		if ended && p.run.ExitCode() != 0 {
			return false, resourceError("dependency container %s did not exit successfully", name)
		}
		return ended, nil
	case types.ContainerConditionHealthy:
		if ended {
			return false, resourceError("dependency container %s exited before it was healthy", name)
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
func startOrder(definitions []types.ContainerDefinition) (order []int, bad string) {
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
			if bad := visit(j); bad != "" {
				return bad
			}
		}
		state[i] = visited
		order = append(order, i)
		return ""
	}
	for i := range definitions {
		if bad := visit(i); bad != "" {
			return nil, bad
		}
	}
	return order, ""
}
