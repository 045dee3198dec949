// Package report is the model of the pipeline's results and renders them: as JSON for
// programs, as text for terminals, and as Markdown for job summaries.
package report

import (
	"fmt"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Result is the result of a release, of a service in it, or of a stage.
type Result string

// The results.
const (
	Succeeded   Result = "succeeded"
	Unchanged   Result = "unchanged"   // nothing to do
	Restored    Result = "restored"    // failed, and the previous version runs again
	Failed      Result = "failed"      // failed; the exit code shows whether production has changed
	Refused     Result = "refused"     // refused by a guard before anything changed
	Interrupted Result = "interrupted" // interrupted, and the previous version runs again
	Paused      Result = "paused"      // waits for a person to continue or abort it
	Started     Result = "started"     // a task that is not waited for
)

// Release is the report of a release: `deploy`, `promote`, `rollback` and `rehearse`
// return it.
type Release struct {
	Result Result `json:"result"`
	SHA    string `json:"sha"`
	// Environment is the name of the environment, if the source tree has several.
	Environment string `json:"environment,omitempty"`
	// PromotedFrom is the release of another environment that is promoted; nil for others.
	PromotedFrom *Promotion `json:"promoted_from,omitempty"`
	// Images are what a promotion copied.
	Images []CopiedImage `json:"images,omitempty"`
	// ID identifies the release by what it changes. The revisions that it registered are
	// tagged with it.
	ID         string    `json:"release,omitempty"`
	StartedAt  time.Time `json:"started_at"`
	DurationMS int64     `json:"duration_ms"`
	URL        string    `json:"url"`
	Services   []Service `json:"services"`
	// Tasks are the release tasks.
	Tasks  []Task  `json:"tasks,omitempty"`
	Stages []Stage `json:"stages"`
	Events []Event `json:"events"`

	// ExitCode is the exit code of the command.
	ExitCode outcome.Code `json:"exit_code"`
	// Error is why the release failed, in one line.
	Error string `json:"error,omitempty"`
	// Notes are what else the reader should know, such as checks that were skipped.
	Notes []string `json:"notes,omitempty"`
	// Next is the command to run if a restore has failed, or to continue a paused release.
	Next string `json:"next,omitempty"`
	// Pause is where a paused release waits.
	Pause *Pause `json:"pause,omitempty"`
	// Traffic counts the requests during the release of a rehearsal.
	Traffic *Traffic `json:"traffic,omitempty"`
	// Staging is the release to staging, which this one promotes, in a rehearsal of both.
	Staging *Release `json:"staging,omitempty"`
}

// Promotion is a release of an environment that is promoted to another one.
type Promotion struct {
	Environment string `json:"environment"`
	SHA         string `json:"sha"`
	// Since is when the last service began to run it, with its deployment complete.
	Since time.Time `json:"since"`
}

// The results of an image in a promotion.
const (
	ImageCopied  = "copied"
	ImagePresent = "present" // with all that is attached to it
)

// CopiedImage is the image of a service in a promotion.
type CopiedImage struct {
	Service string `json:"service"`
	Image   string `json:"image"` // repository@sha256:… of the target
	Digest  string `json:"digest"`
	Result  string `json:"result"`
	// Bytes and blobs that were sent, and blobs that another repository of the registry
	// had.
	Bytes   int64 `json:"bytes_sent"`
	Blobs   int64 `json:"blobs_sent"`
	Mounted int64 `json:"blobs_mounted"`
	// Attached is how many signatures and other artifacts were copied.
	Attached int `json:"attached"`
}

func (i CopiedImage) text() string {
	if i.Result == ImagePresent {
		return i.Result
	}
	text := fmt.Sprintf("%s, %.1f MB in %d blobs", i.Result, float64(i.Bytes)/1e6, i.Blobs)
	if i.Mounted > 0 {
		text += fmt.Sprintf(", %d mounted", i.Mounted)
	}
	return text + fmt.Sprintf(", %d attached artifacts", i.Attached)
}

func (p Promotion) text() string {
	return fmt.Sprintf("promoted from %s, which has run %s since %s", p.Environment, shortSHA(p.SHA), formatTime(p.Since))
}

// Fail sets error, exit code and result from err, which ended the release before it
// changed anything.
func (r *Release) Fail(err error) {
	r.Error, r.ExitCode = outcome.JoinLines(err.Error()), outcome.Of(err)
	switch r.ExitCode {
	case outcome.Refused:
		r.Result = Refused
	case outcome.Interrupted:
		r.Result = Interrupted
	default:
		r.Result = Failed
	}
}

// Service is the result of a service in a release.
type Service struct {
	Name         string  `json:"name"`
	Result       Result  `json:"result"`
	From         Version `json:"from"`
	To           Version `json:"to"`
	DeploymentID string  `json:"deployment_id"`
	DurationMS   int64   `json:"duration_ms"`
	Causes       []Cause `json:"causes"`
	// Error is why the service failed, in one line.
	Error string `json:"error,omitempty"`
	// Strategy is the deployment strategy of ECS, unless it is ROLLING. Stage and Percent are
	// the last lifecycle stage and share of production traffic of the new version.
	Strategy string  `json:"strategy,omitempty"`
	Stage    string  `json:"stage,omitempty"`
	Percent  float64 `json:"percent,omitempty"`
}

// Version is a version of a service.
type Version struct {
	TaskDefinition string `json:"task_definition"` // ARN
	Image          string `json:"image"`           // repository@sha256:…
	SHA            string `json:"sha"`             // the commit that the image was built from
}

// Cause is why tasks of a deployment failed. Tasks that failed for the same reason share
// a cause.
type Cause struct {
	Task     string `json:"task"` // ARN of one of them
	Count    int    `json:"count"`
	StopCode string `json:"stop_code,omitempty"`
	Reason   string `json:"reason"`
	ExitCode *int32 `json:"exit_code" jsonschema:"nullable"` // nil when the container never started
	// Signal is the signal of the exit code, such as "SIGKILL".
	Signal string `json:"signal,omitempty"`
	// Health is the last health of the task's target.
	Health  string   `json:"health,omitempty"`
	LogTail []string `json:"log_tail"`
	// Hint is what to do about a known cause.
	Hint string `json:"hint,omitempty"`
}

// Stage is a stage of the pipeline.
type Stage struct {
	Name       string    `json:"name"`
	Result     Result    `json:"result"`
	DurationMS int64     `json:"duration_ms"`
	StartedAt  time.Time `json:"started_at,omitzero"`
}

// Event is a line of the log.
type Event struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	Text    string    `json:"text"`
}

// Traffic counts requests.
type Traffic struct {
	Served int64 `json:"served"` // answered with a status below 500
	Failed int64 `json:"failed"` // answered with 5xx, cut off, or not answered
}

// Normalize replaces nil lists by empty ones, so that JSON has no null for a list.
func (r Release) Normalize() Release {
	if r.Staging != nil {
		staging := r.Staging.Normalize()
		r.Staging = &staging
	}
	r.Services = orEmpty(r.Services)
	r.Stages = orEmpty(r.Stages)
	r.Events = orEmpty(r.Events)
	for i := range r.Services {
		r.Services[i].Causes = orEmpty(r.Services[i].Causes)
		for j := range r.Services[i].Causes {
			r.Services[i].Causes[j].LogTail = orEmpty(r.Services[i].Causes[j].LogTail)
		}
	}
	return r
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
