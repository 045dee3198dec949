package smoke

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or until ctx ends and returns its cause.
	Sleep(ctx context.Context, d time.Duration) error
}

const (
	// DefaultTimeout is how long a load balancer may take to be where ECS says that
	// the services are: its nodes learn of targets one after the other, some
	// seconds after the deployment is complete.
	DefaultTimeout = 30 * time.Second
	// retryInterval is how long to wait after an answer that is wrong.
	retryInterval = time.Second
)

// Tester makes checks.
type Tester struct {
	Clock Clock
	// Timeout is how long wrong answers are borne, over all checks; each is
	// made at least once.
	Timeout time.Duration
}

// Run makes the checks against the system at base, such as
// "http://ecs-alb-1.us-east-1.elb.amazonaws.com", one after the other. The error
// joins all that was wrong, each with its path.
func (t Tester) Run(ctx context.Context, base string, checks []Check) error {
	client := newClient(base)
	defer client.CloseIdleConnections()
	deadline := t.Clock.Now().Add(t.Timeout)
	var failures []error
	told := map[string]bool{}
	for _, check := range checks {
		err := t.retry(ctx, client, base, check, deadline)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && !told[err.Error()] {
			told[err.Error()] = true
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// retry makes a check until it has passed in all its rounds, in a row: one
// task of the old version among new ones must not be missed by asking again.
func (t Tester) retry(ctx context.Context, client *http.Client, base string, check Check, deadline time.Time) error {
	for passed := 0; passed < max(check.SuccessThreshold, 1); {
		err := check.run(ctx, client, base)
		if err == nil {
			passed++
			continue
		}
		passed = 0
		if ctx.Err() != nil || t.Clock.Now().Add(retryInterval).After(deadline) {
			return err
		}
		if err := t.Clock.Sleep(ctx, retryInterval); err != nil {
			return err
		}
	}
	return nil
}
