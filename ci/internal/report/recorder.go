package report

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// View displays progress.
type View interface {
	// Line displays a line permanently.
	Line(text string)
	// Status replaces the status lines.
	Status(lines []string)
	// Close removes the status lines.
	Close()
}

// Recorder records stages and events, and displays them. Its methods are safe for
// concurrent use.
type Recorder struct {
	now   func() time.Time
	start time.Time

	mu   sync.Mutex // guards the fields below
	view View
	// environment is the name of the environment in reports, or empty.
	environment string
	stages      []Stage
	events      []Event
}

// NewRecorder returns a recorder with a clock and a view.
func NewRecorder(now func() time.Time, view View) *Recorder {
	return &Recorder{now: now, view: view, start: now()}
}

// SetEnvironment sets the name of the environment in reports, and displays it; empty means
// none.
func (r *Recorder) SetEnvironment(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.environment = name
	if name != "" {
		r.view.Line("environment " + name)
	}
}

// WithContext returns a recorder that displays on the same view until ctx ends,
// whatever the code that uses it does. Its record is separate.
func (r *Recorder) WithContext(ctx context.Context) *Recorder {
	return &Recorder{now: r.now, start: r.start, view: contextView{r, ctx}}
}

// contextView displays on a recorder's view until ctx ends.
type contextView struct {
	to  *Recorder
	ctx context.Context //nolint:containedctx // the view depends on its end
}

func (u contextView) Line(text string) {
	if u.ctx.Err() == nil {
		u.to.Line(text)
	}
}

func (u contextView) Status(lines []string) {
	if u.ctx.Err() == nil {
		u.to.Status(lines)
	}
}

func (contextView) Close() {} // the view is shared

// Stage runs a stage and records its result.
func (r *Recorder) Stage(name string, run func() (Result, error)) error {
	started := r.now()
	r.mu.Lock()
	n := len(r.stages) // ordered by start: a stage may run inside another
	r.stages = append(r.stages, Stage{Name: name, StartedAt: started.UTC()})
	r.view.Line(name + " …")
	r.mu.Unlock()
	result, err := run()
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		result = Interrupted
	case result == Succeeded:
		result = Failed
	}
	took := r.now().Sub(started)
	r.mu.Lock()
	r.stages[n].Result, r.stages[n].DurationMS = result, took.Milliseconds()
	r.view.Line(fmt.Sprintf("%s %s in %s", name, result, seconds(took)))
	r.mu.Unlock()
	return err
}

// Event records and displays an event; service is "" for the whole release.
func (r *Recorder) Event(service, text string) {
	at := r.now()
	text = outcome.JoinLines(leak.Redact(text))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, Event{At: at, Service: service, Text: text})
	r.view.Line(fmt.Sprintf("  %6s  %s%s", seconds(at.Sub(r.start)), suffixed(service, ": "), text))
}

// Line displays a line without recording it.
func (r *Recorder) Line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.Line(text)
}

// Status replaces the status lines.
func (r *Recorder) Status(lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.Status(lines)
}

// Fill adds the recorded stages and events and the duration to a report.
func (r *Recorder) Fill(release *Release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	release.Environment, release.StartedAt = r.environment, r.start.UTC()
	release.DurationMS = r.now().Sub(r.start).Milliseconds()
	release.Stages = append([]Stage(nil), r.stages...)
	release.Events = append([]Event(nil), r.events...)
	for i := range release.Events {
		release.Events[i].At = release.Events[i].At.UTC()
	}
}

// seconds formats a duration in seconds.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%.1fs", d.Seconds())
}
