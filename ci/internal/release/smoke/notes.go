package smoke

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	noteJobs    = 8                // requests at a time
	noteTimeout = 10 * time.Second // for all of them
)

// Notes makes checks that decide nothing, each once and all within seconds, and
// has a line for each service that failed some.
func Notes(ctx context.Context, base string, checks []Check) []string {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	client := newClient(base)
	defer client.CloseIdleConnections()
	failures := make([]error, len(checks))
	var group errgroup.Group
	group.SetLimit(noteJobs)
	for n, check := range checks {
		group.Go(func() error {
			failures[n] = check.run(ctx, client, base)
			return nil
		})
	}
	_ = group.Wait() // failures has the errors
	var order []string
	told := map[string][]string{}
	for n, failure := range failures {
		if failure == nil {
			continue
		}
		name := checks[n].Service
		if told[name] == nil {
			order = append(order, name)
		}
		told[name] = append(told[name], failure.Error())
	}
	var remarks []string
	for _, name := range order {
		remarks = append(remarks, fmt.Sprintf("service %s, of which this release has started no task, fails the smoke test: %s", name, strings.Join(told[name], "; ")))
	}
	return remarks
}
