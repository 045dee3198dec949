// Package preflight checks everything that must hold before a release changes
// anything: whose credentials there are, the cluster, the images, the roles, the
// log groups, the target groups and the secrets, of every container and of those
// that a failed release puts back. It changes nothing, reads no
// secret's value, and tells all that it finds at once.
package preflight

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/release/rollout"
	"dagger/slipway/internal/report/outcome"
)

// Checker asks AWS. A client that is nil leaves out what it would be asked, and
// a note says so.
type Checker struct {
	STS        STS
	ECS        ECS
	ECR        ECR
	IAM        IAM
	Logs       Logs
	ELB        ELB
	Secrets    Secrets
	Parameters Parameters

	// AllowNoRollback accepts that the images that run now are gone.
	AllowNoRollback bool
	// Region is the one that the clients speak to; without it no region is compared.
	Region string
	// Timeout bounds each call with its retries; zero means [DefaultTimeout].
	Timeout time.Duration
}

// DefaultTimeout is how long one call may take, retries included.
const DefaultTimeout = 20 * time.Second

// maxCalls is how many calls are under way at once: enough to hide the way to
// AWS, and within the least of the rates that its APIs document.
const maxCalls = 8

// Check looks at what the subjects need, in a cluster that is given by name or
// ARN. The error joins one for every finding; each is one line that names the
// service, the thing and the mend, and carries an exit code: Usage for wrong
// configuration, Refused for what a release must not touch, Failed for what is
// missing, in this order. The notes say what could not be checked, such as for
// lack of a permission that a deploying role need not have; they never fail a
// release. A ctx that ends is an error by itself.
func (c Checker) Check(ctx context.Context, cluster string, subjects []rollout.ServiceChange) (notes []string, err error) {
	r := &run{Checker: c, cluster: cluster, changes: subjects, skipped: map[skipKey][]string{}}
	r.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	r.group.SetLimit(maxCalls)
	r.checkIdentity(ctx) // first: the others compare with the caller's account
	for _, check := range []func(context.Context){
		r.checkCluster, r.checkImages, r.checkRoles, r.checkLogs, r.checkTargets, r.checkSecrets, r.checkRestore,
	} {
		check(ctx)
	}
	_ = r.group.Wait() // what the calls find is in r
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.allNotes(), r.err()
}

// run is one run of the checks.
type run struct {
	Checker
	cluster string
	changes []rollout.ServiceChange
	caller  *Identity // nil if it is not known
	group   errgroup.Group

	mu       sync.Mutex
	notes    []string
	skipped  map[skipKey][]string
	findings []error
}

// call makes one call to AWS, beside others and within its time. What it learns
// it tells by found and note.
func (r *run) call(ctx context.Context, call func(ctx context.Context)) {
	r.group.Go(func() error {
		ctx, cancel := context.WithTimeout(ctx, r.Timeout)
		defer cancel()
		call(ctx)
		return nil
	})
}

// add adds a finding.
func (r *run) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, err)
}

// err joins the findings in the order of their weight, then of their text.
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
