// Package preflight checks the requirements of a release before it changes anything:
// credentials, cluster, images, roles, log groups, target groups, the weights of listener
// rules and secrets, for the new task definitions and for those that a failed release
// restores. It changes nothing, reads no secret value, and reports all findings at once.
package preflight

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Checker runs the checks. A check whose client is nil is skipped with a note.
type Checker struct {
	STS        STS
	ECS        ECS
	ECR        ECR
	IAM        IAM
	Logs       Logs
	ELB        ELB
	Secrets    Secrets
	Parameters Parameters

	// AllowNoRollback turns findings about a restore into notes.
	AllowNoRollback bool
	// Region is the clients' region; "" skips the comparison of regions.
	Region string
	// Timeout limits each call including its retries; 0 means [DefaultTimeout].
	Timeout time.Duration
}

// DefaultTimeout limits one call including its retries.
const DefaultTimeout = 20 * time.Second

// maxCalls is how many calls run concurrently: enough to hide network latency, and
// within the lowest documented rate limit of the APIs.
const maxCalls = 8

// Check checks what the changes of services need.
// The error joins the findings. Each is one line with the service, the problem and the
// next step, and has an exit code: Usage for wrong configuration, Refused for what a
// release must not touch, Failed for what is missing, in this order. The notes include
// what could not be checked, for example because the caller lacks a permission that
// deploying does not need; they do not fail a release. If ctx ends, the error is its
// cause.
func (c Checker) Check(ctx context.Context, changes []rollout.ServiceChange) (notes []string, err error) {
	r := &run{Checker: c, changes: changes, skipped: map[skipKey][]string{}}
	r.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	r.group.SetLimit(maxCalls)
	r.checkIdentity(ctx) // first: others need the caller's account
	for _, check := range []func(context.Context){
		r.checkCluster, r.checkImages, r.checkRoles, r.checkLogs, r.checkTargets, r.checkWeights, r.checkSecrets, r.checkRestore,
	} {
		check(ctx)
	}
	_ = r.group.Wait() // the calls add to r
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.allNotes(), r.err()
}

// run is one run of the checks.
type run struct {
	Checker
	changes []rollout.ServiceChange
	caller  *Identity // nil if unknown
	group   errgroup.Group

	mu       sync.Mutex
	notes    []string
	skipped  map[skipKey][]string
	findings []error
}

// call runs a function that calls AWS, concurrently with others and with a timeout. It
// reports through add, note and skip.
func (r *run) call(ctx context.Context, check func(ctx context.Context)) {
	r.group.Go(func() error {
		ctx, cancel := context.WithTimeout(ctx, r.Timeout)
		defer cancel()
		check(ctx)
		return nil
	})
}

// add adds a finding.
func (r *run) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, err)
}

// err joins the findings, ordered by exit code and then by text.
func (r *run) err() error {
	order := []outcome.Code{outcome.Usage, outcome.Refused, outcome.Failed}
	slices.SortFunc(r.findings, func(a, b error) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, outcome.Of(a)), slices.Index(order, outcome.Of(b))),
			cmp.Compare(a.Error(), b.Error()),
		)
	})
	return errors.Join(slices.CompactFunc(r.findings, func(a, b error) bool { return a.Error() == b.Error() })...)
}
