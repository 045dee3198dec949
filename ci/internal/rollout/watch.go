package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dagger/slipway/internal/report"
)

// Polling starts dense, because a small service is done within seconds, and
// backs off so that a long rollout stays far below ECS's 20 calls a second:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
const (
	firstPoll  = time.Second
	lastPoll   = 5 * time.Second
	pollGrowth = 1.1
)

// maxBlind is how long ECS may stay unreadable before a watch gives up.
const maxBlind = 2 * time.Minute

// errTimeout is the cause of a release that took too long.
var errTimeout = errors.New("not complete within the time limit")

// judgement looks at one service and says what it means.
type judgement func(context.Context, *move, observation) verdict

// watch observes the services until each has come to an end, or one is broken,
// or ctx ends. A reading that fails is tried again for as long as maxBlind.
func (e Engine) watch(ctx context.Context, cluster string, moves []*move, judge judgement) error {
	poll := firstPoll
	seen := e.Clock.Now()
	for {
		observed, err := e.observe(ctx, cluster, moves)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && e.Clock.Now().Sub(seen) > maxBlind:
			return fmt.Errorf("losing sight of the services for %s: %w", maxBlind, err)
		case err == nil:
			seen = e.Clock.Now()
			if e.ended(ctx, moves, observed, judge) {
				return nil
			}
		}
		if err := e.Clock.Sleep(ctx, poll); err != nil {
			return err
		}
		poll = min(lastPoll, time.Duration(float64(poll)*pollGrowth))
	}
}

// ended judges all services and tells whether there is nothing left to wait for.
func (e Engine) ended(ctx context.Context, moves []*move, observed map[*move]observation, judge judgement) bool {
	all, anyBroken := true, false
	for _, m := range moves {
		if m.verdict == pending || m.verdict == undirected {
			m.verdict = judge(ctx, m, observed[m])
			m.took = e.Clock.Now().Sub(m.started)
		}
		all = all && (m.verdict == arrived || m.verdict == broken)
		anyBroken = anyBroken || m.verdict == broken
	}
	return all || anyBroken
}

// watchOut watches the release's own deployments. The error is nil when all
// have arrived.
func (e Engine) watchOut(ctx context.Context, request Request, moves []*move) error {
	started := e.Clock.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := e.watch(ctx, request.Cluster, moves, func(_ context.Context, m *move, o observation) verdict {
		v, why := m.judge(o)
		switch {
		case v == arrived:
			m.result = report.Succeeded
			e.Event(m.name(), "runs the new version")
		case v == broken:
			m.err = errors.New(why)
			e.Event(m.name(), "failed: "+why)
		case e.Clock.Now().Sub(started) > request.Timeout:
			m.err = fmt.Errorf("%w of %s", errTimeout, request.Timeout)
			e.Event(m.name(), "failed: "+m.err.Error())
			return broken
		}
		return v
	})
	if err != nil {
		return err
	}
	for _, m := range moves {
		if m.err != nil {
			return fmt.Errorf("%s: %w", m.name(), m.err)
		}
	}
	return nil
}
