// Package report holds what a stage found out, in one model, and renders it:
// as JSON for programs, as text for terminals, as Markdown for a job summary.
package report

import (
	"strings"
	"time"

	"dagger/slipway/internal/report/outcome"
)

// Result is how a release, or a service's part of one, ended.
type Result string

// The results.
const (
	Succeeded   Result = "succeeded"
	Unchanged   Result = "unchanged"   // nothing to do
	Restored    Result = "restored"    // failed, and what ran before runs again
	Failed      Result = "failed"      // failed; the exit code tells whether production was touched
	Refused     Result = "refused"     // a guard said no before anything changed
	Interrupted Result = "interrupted" // stopped from outside; what ran before runs again
)

// Release is the report of a release: `deploy`, `rollback` and `rehearse`
// return it.
type Release struct {
	Result Result `json:"result"`
	SHA    string `json:"sha"`
	// ID names the release by what it changes; the revisions that it registered
	// carry it as a tag.
	ID         string    `json:"release,omitempty"`
	StartedAt  time.Time `json:"started_at"`
	DurationMS int64     `json:"duration_ms"`
	URL        string    `json:"url"`
	Services   []Service `json:"services"`
	Stages     []Stage   `json:"stages"`
	Events     []Event   `json:"events"`

	// ExitCode is what the command ends with.
	ExitCode outcome.Code `json:"exit_code"`
	// Error is what went wrong outside any one service.
	Error string `json:"error,omitempty"`
	// Notes are facts that limit what the report proves.
	Notes []string `json:"notes,omitempty"`
	// Next is the command for a human to run when something is left to do.
	Next string `json:"next,omitempty"`
	// Traffic counts the requests that flowed during a rehearsal's release.
	Traffic *Traffic `json:"traffic,omitempty"`
}

// Fail makes r the report of what ended with err, before it changed anything or after
// it was put right: error, exit code and result, in one line.
func (r *Release) Fail(err error) {
	r.Error, r.ExitCode = strings.ReplaceAll(err.Error(), "\n", "; "), outcome.Of(err)
	switch r.ExitCode {
	case outcome.Refused:
		r.Result = Refused
	case outcome.Interrupted:
		r.Result = Interrupted
	default:
		r.Result = Failed
	}
}

// Service is one service's part of a release.
type Service struct {
	Name         string  `json:"name"`
	Result       Result  `json:"result"`
	From         Version `json:"from"`
	To           Version `json:"to"`
	DeploymentID string  `json:"deployment_id"`
	DurationMS   int64   `json:"duration_ms"`
	Causes       []Cause `json:"causes"`
	// Error is why the service's release failed, in one line.
	Error string `json:"error,omitempty"`
}

// Version is what a service runs.
type Version struct {
	TaskDefinition string `json:"task_definition"` // ARN
	Image          string `json:"image"`           // repository@sha256:…
	SHA            string `json:"sha"`             // the commit that it was built from
}

// Cause is why tasks of a deployment stopped. Tasks that stopped for the same
// reason are one cause.
type Cause struct {
	Task     string `json:"task"` // ARN of one of them
	Count    int    `json:"count"`
	StopCode string `json:"stop_code,omitempty"`
	Reason   string `json:"reason"`
	ExitCode *int32 `json:"exit_code" jsonschema:"nullable"` // nil when the container never started
	// Signal is the signal that the exit code stands for, such as "SIGKILL".
	Signal string `json:"signal,omitempty"`
	// Health is what the load balancer said last of the task.
	Health  string   `json:"health,omitempty"`
	LogTail []string `json:"log_tail"`
	// Hint is what to do about a well-known cause.
	Hint string `json:"hint,omitempty"`
}

// Stage is one step of the pipeline.
type Stage struct {
	Name       string    `json:"name"`
	Result     Result    `json:"result"`
	DurationMS int64     `json:"duration_ms"`
	StartedAt  time.Time `json:"started_at,omitzero"`
}

// Event is one thing that happened, as people want to read it.
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

// Normalize replaces nil lists by empty ones, so that a program that reads the
// JSON finds a list at every place.
func (r Release) Normalize() Release {
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
