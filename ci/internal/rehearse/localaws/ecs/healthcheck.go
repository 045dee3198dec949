package ecs

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
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
		if clock.Sleep(ctx, wait) != nil || p.hasExited() {
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
	if p.health == health {
		return
	}
	t.record.Containers[slices.Index(t.containers, p)].HealthStatus = health
	p.health = health
	t.record.HealthStatus = t.overallHealth()
	t.notify()
	t.wakeService()
}

// overallHealth derives the task's health from its essential containers with a health
// check: unhealthy if one is, healthy if there are some and all are.
func (t *taskRun) overallHealth() types.HealthStatus {
	checked, healthy := 0, 0
	for _, p := range t.containers {
		if !p.essential() || newHealthCheck(p.definition.HealthCheck) == nil {
			continue
		}
		checked++
		switch p.health {
		case types.HealthStatusUnhealthy:
			return types.HealthStatusUnhealthy
		case types.HealthStatusHealthy:
			healthy++
		}
	}
	if checked == 0 || healthy < checked {
		return types.HealthStatusUnknown
	}
	return types.HealthStatusHealthy
}

// hasExited reports whether a started container has exited.
func (p *container) hasExited() bool {
	select {
	case <-p.run.Done():
		return true
	default:
		return false
	}
}
