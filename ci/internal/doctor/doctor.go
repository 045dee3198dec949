// Package doctor tells how fit a machine is for the pipeline: what is there, in
// which version, and which stages that is enough for.
//
// A probe looks at one thing. It changes nothing, tells no secret, and gives up
// when its time is over: without a network the whole takes no longer.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// DefaultDeadline bounds each probe. All look at the same time.
const DefaultDeadline = 3 * time.Second

// State is how a thing stands.
type State string

// The states.
const (
	OK      State = "ok"
	Limited State = "limited" // there, and not all that it could be
	Missing State = "missing" // not there, or of no use as it is
)

// Finding is what a probe found.
type Finding struct {
	// Name is what stages call the thing.
	Name string `json:"name"`
	// State is how it stands.
	State State `json:"state"`
	// Says is what is there, or why not, in one line.
	Says string `json:"says"`
	// Mend says how to get it, where Says does not.
	Mend string `json:"mend,omitempty"`
	// DurationMS is how long it took to find out.
	DurationMS int64 `json:"duration_ms"`
}

func ok(format string, args ...any) Finding {
	return Finding{State: OK, Says: fmt.Sprintf(format, args...)}
}

func limited(mend, format string, args ...any) Finding {
	return Finding{State: Limited, Says: fmt.Sprintf(format, args...), Mend: mend}
}

func missing(mend, format string, args ...any) Finding {
	return Finding{State: Missing, Says: fmt.Sprintf(format, args...), Mend: mend}
}

// Probe looks at one thing of the machine.
type Probe interface {
	// Name is what stages call the thing that they need.
	Name() string
	// Look looks, and is back soon after the context has ended.
	Look(ctx context.Context) Finding
}

// Examine lets all probes look at the same time, each no longer than the
// deadline, and returns what they found, in their order.
func Examine(ctx context.Context, deadline time.Duration, probes []Probe) []Finding {
	findings := make([]Finding, len(probes))
	var all sync.WaitGroup
	for n, probe := range probes {
		all.Go(func() { findings[n] = look(ctx, deadline, probe) })
	}
	all.Wait()
	return findings
}

func look(ctx context.Context, deadline time.Duration, probe Probe) Finding {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	started := time.Now()
	found := probe.Look(ctx)
	if found.State != OK && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		found.State, found.Says = Missing, fmt.Sprintf("no answer within %s", deadline)
	}
	found.Name, found.DurationMS = probe.Name(), time.Since(started).Milliseconds()
	return found
}
