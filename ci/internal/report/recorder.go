package report

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"dagger/slipway/internal/images/leak"
)

// View shows progress to a person.
type View interface {
	// Line shows one thing that happened; it stays.
	Line(text string)
	// Status shows how things stand; the next call replaces it.
	Status(lines []string)
	// Close ends the view: the status goes, the lines stay.
	Close()
}

// Recorder collects stages and events while a stage runs, and shows them as
// they come. Its methods may be called at the same time.
type Recorder struct {
	now   func() time.Time
	start time.Time

	mu     sync.Mutex // guards what follows: a view is shown one thing at a time
	view   View
	stages []Stage
	events []Event
}

// NewRecorder records with the time that now tells and shows on view.
func NewRecorder(now func() time.Time, view View) *Recorder {
	return &Recorder{now: now, view: view, start: now()}
}

// Until is a recorder for a process that ends with ctx, whatever its code does: it
// shows what r would, and what it records ends with it.
func (r *Recorder) Until(ctx context.Context) *Recorder {
	return &Recorder{now: r.now, start: r.start, view: until{r, ctx}}
}

// until shows on a recorder's view until ctx ends.
type until struct {
	to  *Recorder
	ctx context.Context //nolint:containedctx // its end is what this is about
}

func (u until) Line(text string) {
	if u.ctx.Err() == nil {
		u.to.Line(text)
	}
}

func (u until) Status(lines []string) {
	if u.ctx.Err() == nil {
		u.to.Status(lines)
	}
}

func (until) Close() {} // others go on

// Stage runs one stage of the pipeline and records how it ended.
func (r *Recorder) Stage(name string, run func() (Result, error)) error {
	started := r.now()
	r.mu.Lock()
	n := len(r.stages) // its place is by its start: a stage may run inside another
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

// Event records and shows one thing that happened. An empty service means the
// release as a whole.
func (r *Recorder) Event(service, text string) {
	at := r.now()
	text = strings.ReplaceAll(leak.Redact(text), "\n", "; ")
	who := service
	if who != "" {
		who += ": "
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, Event{At: at, Service: service, Text: text})
	r.view.Line(fmt.Sprintf("  %6s  %s%s", seconds(at.Sub(r.start)), who, text))
}

// Line shows a line that is not part of the record.
func (r *Recorder) Line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.Line(text)
}

// Status shows how things stand now.
func (r *Recorder) Status(lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.Status(lines)
}

// Fill puts what was recorded, and the time, into a report.
func (r *Recorder) Fill(release *Release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	release.StartedAt = r.start.UTC()
	release.DurationMS = r.now().Sub(r.start).Milliseconds()
	release.Stages = append([]Stage(nil), r.stages...)
	release.Events = append([]Event(nil), r.events...)
	for i := range release.Events {
		release.Events[i].At = release.Events[i].At.UTC()
	}
}

// seconds writes a duration with as many digits as a person wants.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%.1fs", d.Seconds())
}
