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

// nodes is the number of load balancer nodes that check a new target. Each does
// so in its own rhythm, so a target that has just come up is found healthy after
// a fraction of the interval.
const nodes = 4

// shortestTimeout is the least real time a health check waits for its answer,
// however fast the clock runs.
const shortestTimeout = time.Second

// probe is a target group's health check as it stands at one moment.
type probe struct {
	enabled            bool
	url                string
	address            string
	tcp                bool
	codes              string
	interval, timeout  time.Duration
	healthy, unhealthy int
}

func (b *Balancer) probe(g *targetGroup, t *target) probe {
	port := aws.ToString(g.HealthCheckPort)
	if port == "" || port == "traffic-port" {
		port = strconv.Itoa(t.port)
	}
	p := probe{
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

// check watches a target's health until the target is gone or draining.
func (b *Balancer) check(g *targetGroup, t *target) {
	passed, failed := 0, 0
	for {
		b.mu.Lock()
		p := b.probe(g, t)
		attached := len(b.users(t.group)) > 0
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
			next = b.ask(t.serving, p)
		}
		if next.State == types.TargetHealthStateEnumHealthy {
			passed, failed = passed+1, 0
		} else {
			passed, failed = 0, failed+1
		}
		if t.serving.Err() != nil {
			return
		}
		fresh := b.judge(t, p, next, passed, failed)
		wait := p.interval
		if fresh {
			wait /= nodes
		}
		timer := time.NewTimer(max(b.cfg.Clock.Scaled(wait), time.Millisecond))
		select {
		case <-t.serving.Done():
			timer.Stop()
			return
		case <-t.poke:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// judge applies the thresholds to a check's outcome. A new target is healthy
// with its first good answer; it says whether the target is still new.
func (b *Balancer) judge(t *target, p probe, got Health, passed, failed int) (fresh bool) {
	b.mu.Lock()
	before := Health{t.state, t.reason, t.text}
	if t.state == types.TargetHealthStateEnumDraining {
		b.mu.Unlock()
		return false
	}
	fresh = t.state == types.TargetHealthStateEnumInitial || t.state == types.TargetHealthStateEnumUnused
	goodEnough, badEnough := p.healthy, p.unhealthy
	if fresh {
		goodEnough, badEnough = 1, p.unhealthy*nodes
	}
	after := before
	switch {
	case got.State == types.TargetHealthStateEnumUnused, got.State == types.TargetHealthStateEnumHealthy && passed >= goodEnough,
		got.State == types.TargetHealthStateEnumUnhealthy && failed >= badEnough:
		after = got
	case fresh:
		after = Health{types.TargetHealthStateEnumInitial, types.TargetHealthReasonEnumInitialHealthChecking, "Initial health checks in progress"}
	case before.State == types.TargetHealthStateEnumUnhealthy && got.State == types.TargetHealthStateEnumUnhealthy:
		after = got // with the latest reason
	}
	t.state, t.reason, t.text = after.State, after.Reason, after.Text
	b.mu.Unlock()
	if before.State != after.State {
		b.cfg.Changed(t.group, t.ip)
	}
	return after.State == types.TargetHealthStateEnumInitial
}

// ask makes one health check.
func (b *Balancer) ask(ctx context.Context, p probe) Health {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Clock.AtLeast(p.timeout, shortestTimeout))
	defer cancel()
	status, err := b.request(ctx, p)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Health{types.TargetHealthStateEnumUnhealthy, types.TargetHealthReasonEnumTimeout, "Request timed out"}
	case err != nil:
		return Health{types.TargetHealthStateEnumUnhealthy, types.TargetHealthReasonEnumFailedHealthChecks, "Health checks failed"}
	case p.tcp || matches(p.codes, status):
		return Health{State: types.TargetHealthStateEnumHealthy}
	default:
		return Health{
			types.TargetHealthStateEnumUnhealthy, types.TargetHealthReasonEnumResponseCodeMismatch,
			fmt.Sprintf("Health checks failed with these codes: [%d]", status),
		}
	}
}

func (b *Balancer) request(ctx context.Context, p probe) (status int, err error) {
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
	resp, err := b.checker.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, nil
}

// matches says whether a status is among codes: "200", "200,302" or "200-299".
func matches(codes string, status int) bool {
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
