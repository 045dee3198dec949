package smoke

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Clock is the time and a way to wait.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or until ctx ends and returns its cause.
	Sleep(ctx context.Context, d time.Duration) error
}

const (
	// DefaultTimeout is how long failing checks are retried: the nodes of a load
	// balancer learn of new targets some seconds after ECS completes a deployment.
	DefaultTimeout = 30 * time.Second
	// retryInterval is the wait after a failed request.
	retryInterval = time.Second
)

// Tester runs checks and retries those that fail.
type Tester struct {
	Clock Clock
	// Timeout is how long failing checks are retried, over all checks. Each is run
	// at least once.
	Timeout time.Duration
	// Host, if set, is the header Host of requests.
	Host string
}

// Run runs the checks one after the other against the system at base, such as
// "http://ecs-alb-1.us-east-1.elb.amazonaws.com". The error joins one for each
// failed check, which begins with its path.
func (t Tester) Run(ctx context.Context, base string, checks []Check) error {
	client := newClient(base, t.Host)
	defer client.CloseIdleConnections()
	deadline := t.Clock.Now().Add(t.Timeout)
	var failures []error
	seen := map[string]bool{}
	for _, check := range checks {
		err := t.retry(ctx, client, base, check, deadline)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// retry runs a check until it has passed as often in a row as its threshold
// requires, so that one remaining task of the old version is not missed.
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
