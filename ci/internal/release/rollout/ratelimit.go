package rollout

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"golang.org/x/time/rate"

	"dagger/slipway/internal/release/rollout/machine"
)

// rateLimited keeps the reads of a watch within a quarter of what ECS allows an
// account in a region, however many services are watched: others live there,
// too.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
type rateLimited struct {
	ECS
	clock                        Clock
	services, tasks, deployments *rateLimiter
}

// rateLimiter is a limiter that many ask at the same time.
type rateLimiter struct {
	mu sync.Mutex
	*rate.Limiter
}

func newRateLimiter(perSecond rate.Limit, burst int) *rateLimiter {
	return &rateLimiter{Limiter: rate.NewLimiter(perSecond, burst)}
}

// reserve takes one call and returns how long to wait for it. The time is read under
// the lock: a limiter that is given an earlier time than the last gives the time
// between them twice.
func (q *rateLimiter) reserve(clock Clock) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := clock.Now()
	return q.ReserveN(now, 1).DelayFrom(now)
}

// quotaShare is the part of a quota that a release takes for itself.
const quotaShare = 4

func limitReads(api ECS, clock Clock) ECS {
	return rateLimited{
		ECS: api, clock: clock,
		services:    newRateLimiter(20./quotaShare, 100/quotaShare),
		tasks:       newRateLimiter(20./quotaShare, 100/quotaShare),
		deployments: newRateLimiter(20./quotaShare, 50/quotaShare),
	}
}

// wait waits until the quota lets one call through.
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

// updateLimiter keeps the changes of services within what ECS allows an account in a
// region: whoever asks for more is throttled, and has every other pipeline
// throttled with it.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
type updateLimiter struct {
	clock   Clock
	limiter *rate.Limiter
}

func newUpdateLimiter(clock Clock) updateLimiter { return updateLimiter{clock, rate.NewLimiter(5, 50)} }

// available is how many changes may be asked for now.
func (l updateLimiter) available() int { return int(l.limiter.TokensAt(l.clock.Now())) }

// spend counts changes that were asked for. If one was throttled others use the
// same quota: then nothing of the burst is left.
func (l updateLimiter) spend(answers []machine.Response) {
	now, n := l.clock.Now(), len(answers)
	if slices.ContainsFunc(answers, func(a machine.Response) bool { return a.Status == machine.Throttled }) {
		n = l.available()
	}
	l.limiter.AllowN(now, n)
}
