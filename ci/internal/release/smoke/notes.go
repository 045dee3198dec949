package smoke

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	noteJobs    = 8                // concurrent requests
	noteTimeout = 10 * time.Second // for all of them
)

// Notes runs checks that do not decide the release, each once and all within
// [noteTimeout]. host, if set, is the header Host of requests. It returns one line for each service with a failed check.
func Notes(ctx context.Context, base, host string, checks []Check) []string {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	client := newClient(base, host)
	defer client.CloseIdleConnections()
	errs := make([]error, len(checks))
	var group errgroup.Group
	group.SetLimit(noteJobs)
	for n, check := range checks {
		group.Go(func() error {
			errs[n] = check.run(ctx, client, base)
			return nil
		})
	}
	_ = group.Wait() // errs has the errors
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
