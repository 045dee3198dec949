package rollout

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"golang.org/x/time/rate"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// rateLimited limits reads to a quarter of ECS's quota for an account and region,
// however many services are watched, because others use the same quota.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
type rateLimited struct {
	ECS
	clock                        Clock
	services, tasks, deployments *rateLimiter
}

// rateLimiter is a limiter that is safe for concurrent use.
type rateLimiter struct {
	mu sync.Mutex
	*rate.Limiter
}

func newRateLimiter(perSecond rate.Limit, burst int) *rateLimiter {
	return &rateLimiter{Limiter: rate.NewLimiter(perSecond, burst)}
}

// reserve takes one call and returns how long to wait for it. The time is read under
// the lock, because a limiter that gets an earlier time than before grants the time
// between twice.
func (q *rateLimiter) reserve(clock Clock) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := clock.Now()
	return q.ReserveN(now, 1).DelayFrom(now)
}

// quotaShare is the divisor of the quota that a release uses.
const quotaShare = 4

func limitReads(api ECS, clock Clock) ECS {
	return rateLimited{
		ECS: api, clock: clock,
		services:    newRateLimiter(20./quotaShare, 100/quotaShare),
		tasks:       newRateLimiter(20./quotaShare, 100/quotaShare),
		deployments: newRateLimiter(20./quotaShare, 50/quotaShare),
	}
}

// wait waits until the limiter allows one call.
func (l rateLimited) wait(ctx context.Context, q *rateLimiter) error {
	wait := q.reserve(l.clock)
	if wait <= 0 {
		return nil
	}
	return l.clock.Sleep(ctx, wait.Round(time.Millisecond))
}

func (l rateLimited) DescribeServices(ctx context.Context, in *ecs.DescribeServicesInput, options ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	if err := l.wait(ctx, l.services); err != nil {
		return nil, err
	}
	return l.ECS.DescribeServices(ctx, in, options...)
}

func (l rateLimited) ListTasks(ctx context.Context, in *ecs.ListTasksInput, options ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	if err := l.wait(ctx, l.tasks); err != nil {
		return nil, err
	}
	return l.ECS.ListTasks(ctx, in, options...)
}

func (l rateLimited) DescribeTasks(ctx context.Context, in *ecs.DescribeTasksInput, options ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	if err := l.wait(ctx, l.tasks); err != nil {
		return nil, err
	}
	return l.ECS.DescribeTasks(ctx, in, options...)
}

func (l rateLimited) ListServiceDeployments(ctx context.Context, in *ecs.ListServiceDeploymentsInput, options ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error) {
	if err := l.wait(ctx, l.deployments); err != nil {
		return nil, err
	}
	return l.ECS.ListServiceDeployments(ctx, in, options...)
}

func (l rateLimited) DescribeServiceDeployments(ctx context.Context, in *ecs.DescribeServiceDeploymentsInput, options ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error) {
	if err := l.wait(ctx, l.deployments); err != nil {
		return nil, err
	}
	return l.ECS.DescribeServiceDeployments(ctx, in, options...)
}

// updateLimiter limits UpdateService to ECS's quota for an account and region. Beyond
// it, ECS would throttle other pipelines, too.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
type updateLimiter struct {
	clock   Clock
	limiter *rate.Limiter
}

func newUpdateLimiter(clock Clock) updateLimiter { return updateLimiter{clock, rate.NewLimiter(5, 50)} }

// available returns how many updates are allowed now.
func (l updateLimiter) available() int { return int(l.limiter.TokensAt(l.clock.Now())) }

// spend counts updates. If one was throttled, others use the same quota, so nothing of the
// burst is left.
func (l updateLimiter) spend(responses []machine.Response) {
	now, n := l.clock.Now(), len(responses)
	if slices.ContainsFunc(responses, func(r machine.Response) bool { return r.Status == machine.Throttled }) {
		n = l.available()
	}
	l.limiter.AllowN(now, n)
}
