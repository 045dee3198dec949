package elb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// loadBalancerNodes is the number of load balancer nodes that check a new target. They
// check at different times, so that a new target is found healthy after a fraction of
// the interval.
const loadBalancerNodes = 4

// minCheckTimeout is the minimum timeout of a health check in real time, whatever the
// clock's scale.
const minCheckTimeout = time.Second

// healthCheck holds the current settings of a target's health check.
type healthCheck struct {
	enabled            bool
	url                string
	address            string
	tcp                bool
	codes              string
	interval, timeout  time.Duration
	healthy, unhealthy int
}

func (b *Balancer) healthCheckOf(g *targetGroup, t *target) healthCheck {
	port := aws.ToString(g.HealthCheckPort)
	if port == "" || port == "traffic-port" {
		port = strconv.Itoa(t.port)
	}
	p := healthCheck{
		enabled:  aws.ToBool(g.HealthCheckEnabled),
		address:  net.JoinHostPort(t.ip, port),
		tcp:      g.HealthCheckProtocol == types.ProtocolEnumTcp,
		interval: time.Duration(aws.ToInt32(g.HealthCheckIntervalSeconds)) * time.Second,
		timeout:  time.Duration(aws.ToInt32(g.HealthCheckTimeoutSeconds)) * time.Second,
		healthy:  int(aws.ToInt32(g.HealthyThresholdCount)), unhealthy: int(aws.ToInt32(g.UnhealthyThresholdCount)),
	}
	p.url = "http://" + p.address + aws.ToString(g.HealthCheckPath)
	if g.Matcher != nil {
		p.codes = aws.ToString(g.Matcher.HttpCode)
	}
	return p
}

// runHealthChecks checks a target's health until it is removed or draining.
func (b *Balancer) runHealthChecks(g *targetGroup, t *target) {
	passed, failed := 0, 0
	for {
		b.mu.Lock()
		p := b.healthCheckOf(g, t)
		attached := len(b.forwardingLoadBalancers(t.group)) > 0
		draining := t.state == types.TargetHealthStateEnumDraining
		b.mu.Unlock()
		if draining {
			return
		}
		next := Health{State: types.TargetHealthStateEnumHealthy}
		switch {
		case !attached:
			next = Health{
				types.TargetHealthStateEnumUnused, types.TargetHealthReasonEnumNotInUse,
				"Target group is not configured to receive traffic from the load balancer",
			}
		case p.enabled:
			next = b.checkTarget(t.ctx, p)
		}
		if next.State == types.TargetHealthStateEnumHealthy {
			passed, failed = passed+1, 0
		} else {
			passed, failed = 0, failed+1
		}
		if t.ctx.Err() != nil {
			return
		}
		isNew := b.applyThresholds(t, p, next, passed, failed)
		wait := p.interval
		if isNew {
			wait /= loadBalancerNodes
		}
		timer := time.NewTimer(max(b.cfg.Clock.Scale(wait), time.Millisecond))
		select {
		case <-t.ctx.Done():
			timer.Stop()
			return
		case <-t.wakeup:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// applyThresholds updates a target's state with a check's result. A new target is
// healthy after its first successful check. It reports whether the target is still new.
func (b *Balancer) applyThresholds(t *target, p healthCheck, got Health, passed, failed int) (isNew bool) {
	b.mu.Lock()
	before := Health{t.state, t.reason, t.description}
	if t.state == types.TargetHealthStateEnumDraining {
		b.mu.Unlock()
		return false
	}
	isNew = t.state == types.TargetHealthStateEnumInitial || t.state == types.TargetHealthStateEnumUnused
	passThreshold, failThreshold := p.healthy, p.unhealthy
	if isNew {
		passThreshold, failThreshold = 1, p.unhealthy*loadBalancerNodes
	}
	after := before
	switch {
	case got.State == types.TargetHealthStateEnumUnused, got.State == types.TargetHealthStateEnumHealthy && passed >= passThreshold,
		got.State == types.TargetHealthStateEnumUnhealthy && failed >= failThreshold:
		after = got
	case isNew:
		after = Health{types.TargetHealthStateEnumInitial, types.TargetHealthReasonEnumInitialHealthChecking, "Initial health checks in progress"}
	case before.State == types.TargetHealthStateEnumUnhealthy && got.State == types.TargetHealthStateEnumUnhealthy:
		after = got // with the latest reason
	}
	t.state, t.reason, t.description = after.State, after.Reason, after.Description
	b.mu.Unlock()
	if before.State != after.State {
		b.cfg.OnTargetChange(t.group, t.ip)
	}
	return after.State == types.TargetHealthStateEnumInitial
}

// checkTarget performs one health check.
func (b *Balancer) checkTarget(ctx context.Context, p healthCheck) Health {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Clock.AtLeast(p.timeout, minCheckTimeout))
	defer cancel()
	status, err := b.sendCheck(ctx, p)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Health{types.TargetHealthStateEnumUnhealthy, types.TargetHealthReasonEnumTimeout, "Request timed out"}
	case err != nil:
		return Health{types.TargetHealthStateEnumUnhealthy, types.TargetHealthReasonEnumFailedHealthChecks, "Health checks failed"}
	case p.tcp || statusMatches(p.codes, status):
		return Health{State: types.TargetHealthStateEnumHealthy}
	default:
		return Health{
			types.TargetHealthStateEnumUnhealthy, types.TargetHealthReasonEnumResponseCodeMismatch,
			fmt.Sprintf("Health checks failed with these codes: [%d]", status),
		}
	}
}

func (b *Balancer) sendCheck(ctx context.Context, p healthCheck) (status int, err error) {
	if p.tcp {
		conn, err := b.dialAddress(ctx, "tcp", p.address)
		if err == nil {
			err = conn.Close()
		}
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	resp, err := b.healthClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, nil
}

// statusMatches reports whether a status is one of codes: "200", "200,302" or
// "200-299".
func statusMatches(codes string, status int) bool {
	for part := range strings.SplitSeq(codes, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			high = low
		}
		from, err1 := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if err1 == nil && err2 == nil && from <= status && status <= to {
			return true
		}
	}
	return false
}
