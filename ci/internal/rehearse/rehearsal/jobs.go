package rehearsal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// jobTimeout limits the run of a job.
const jobTimeout = time.Minute

// runJobs runs each job once, as slipway run does, and returns a note for each. Its result
// does not change that of the release, which is done.
func (r *rehearsal) runJobs(ctx context.Context, d delivery.Delivery) (notes []string) {
	for _, s := range r.options.Platform.Services {
		if !s.IsJob() || ctx.Err() != nil {
			continue
		}
		d.Services = []platform.Service{s}
		var run report.Run
		_ = r.recorder.Stage("run", func() (report.Result, error) { // the note has the error
			run = d.Run(ctx, delivery.RunOptions{Timeout: jobTimeout, Output: func(lines []string) {
				for _, line := range lines {
					r.recorder.Event(s.Name, "| "+line)
				}
			}})
			return run.Task.Result, nil
		})
		notes = append(notes, jobNote(run))
	}
	return notes
}

// jobNote describes the run of a job.
func jobNote(run report.Run) string {
	if run.Error == "" {
		return fmt.Sprintf("the job %s was run once, and succeeded", run.Task.Service)
	}
	note := fmt.Sprintf("the job %s was run once, and failed: %s", run.Task.Service, run.Error)
	if len(run.Causes) > 0 && len(run.Causes[0].LogTail) > 0 {
		note += ": " + strings.TrimSpace(run.Causes[0].LogTail[len(run.Causes[0].LogTail)-1])
	}
	return note
}
