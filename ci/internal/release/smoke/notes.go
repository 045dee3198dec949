package smoke

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	onceJobs    = 8                // concurrent requests
	onceTimeout = 10 * time.Second // for all of them
)

// runOnce runs each check once, and all within [onceTimeout]. It returns the error of each.
func runOnce(ctx context.Context, base, host string, checks []Check) []error {
	ctx, cancel := context.WithTimeout(ctx, onceTimeout)
	defer cancel()
	client := newClient(base, host)
	defer client.CloseIdleConnections()
	errs := make([]error, len(checks))
	var group errgroup.Group
	group.SetLimit(onceJobs)
	for n, check := range checks {
		group.Go(func() error {
			errs[n] = check.run(ctx, client, base)
			return nil
		})
	}
	_ = group.Wait() // errs has the errors
	return errs
}

// Succeeded has the checks that were answered with a status below 400, by service and path.
// Only those are compared that accept any status below 500, of a program of kind go that was
// not there before.
type Succeeded map[string]bool

func (c Check) key() string { return c.Service + c.Path }

func (c Check) isCompared() bool { return c.Below == http.StatusInternalServerError && !c.CommitOnly }

// Add sends a request for each check to compare to the system at base. host, if set, is the
// header Host of requests.
func (s Succeeded) Add(ctx context.Context, base, host string, checks []Check) {
	var requests []Check
	for _, check := range checks {
		if check.isCompared() {
			requests = append(requests, Check{Service: check.Service, Path: check.Path, Below: http.StatusBadRequest})
		}
	}
	for n, err := range runOnce(ctx, base, host, requests) {
		s[requests[n].key()] = err == nil
	}
}

// Require sets AsBefore of the checks that have succeeded.
func (s Succeeded) Require(checks []Check) []Check {
	for n, check := range checks {
		checks[n].AsBefore = check.isCompared() && s[check.key()]
	}
	return checks
}

// Notes runs checks that do not decide the release, each once and all within
// [onceTimeout]. host, if set, is the header Host of requests. It returns one line for each
// service with a failed check.
func Notes(ctx context.Context, base, host string, checks []Check) []string {
	errs := runOnce(ctx, base, host, checks)
	var order []string
	failures := map[string][]string{}
	for n, err := range errs {
		if err == nil {
			continue
		}
		name := checks[n].Service
		if failures[name] == nil {
			order = append(order, name)
		}
		failures[name] = append(failures[name], err.Error())
	}
	var notes []string
	for _, name := range order {
		notes = append(notes, fmt.Sprintf("service %s fails the smoke test, and this release started no task of it: %s", name, strings.Join(failures[name], "; ")))
	}
	return notes
}
