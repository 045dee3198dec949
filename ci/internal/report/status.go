package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// State is the state of a service.
type State string

// The states.
const (
	Steady    State = "steady"    // runs all tasks of its version
	Deploying State = "deploying" // a deployment is in progress
	Degraded  State = "degraded"  // its deployment failed, or tasks are missing
	Missing   State = "missing"   // does not exist
	Unknown   State = "unknown"   // could not be read
)

// Status is what the services run: `status` returns it.
type Status struct {
	// Cluster is the services' cluster; several are separated by ", ".
	Cluster string `json:"cluster"`
	// Environment is the name of the environment, if the source tree has several.
	Environment string          `json:"environment,omitempty"`
	At          time.Time       `json:"at"`
	URL         string          `json:"url,omitempty"`
	Services    []ServiceStatus `json:"services"`
	// Unfinished is a release that only some of its services run.
	Unfinished *Unfinished `json:"unfinished,omitempty"`
	// Next is the command to run about it.
	Next string `json:"next,omitempty"`
	// Figures are those of the last releases; nil if they were not requested.
	Figures *Figures `json:"figures,omitempty"`
	// With is the status of another environment to compare with; nil for none.
	With *Status `json:"with,omitempty"`
	// Infra is the drift of the platform, a [Document]; nil if it was not requested.
	Infra any `json:"infra,omitempty"`
}

// ServiceStatus is what a service runs.
type ServiceStatus struct {
	Name string `json:"name"`
	// Cluster is set if the services are in several clusters.
	Cluster string  `json:"cluster,omitempty"`
	State   State   `json:"state"`
	Detail  string  `json:"detail,omitempty"`
	Version Version `json:"version"`
	Release string  `json:"release,omitempty"`
	// Strategy is the deployment strategy, unless it is ROLLING.
	Strategy string `json:"strategy,omitempty"`
	// Shift is nil for a service that is only rolled.
	Shift       *Shift        `json:"shift,omitempty"`
	Since       time.Time     `json:"since"`
	Tasks       Tasks         `json:"tasks"`
	Deployments []Deployment  `json:"deployments"`
	Releases    []PastRelease `json:"releases"`
	// Drift lists differences between what runs, the newest revision and the services
	// file.
	Drift []string `json:"drift"`
	// Modified are those of Drift in the image and version, which only releases set.
	Modified []string `json:"-"`
	// Job is the schedule of a job; nil for a service.
	Job   *Job   `json:"job,omitempty"`
	Error string `json:"error,omitempty"`
}

// Job is the schedule of a job and its last runs, newest first.
type Job struct {
	Schedule string   `json:"schedule"`
	Timezone string   `json:"timezone"`
	State    string   `json:"state"` // ENABLED or DISABLED
	Runs     []JobRun `json:"runs"`
}

// JobRun is a run of a job that has ended.
type JobRun struct {
	Task           string    `json:"task"`            // ARN
	TaskDefinition string    `json:"task_definition"` // ARN
	StartedBy      string    `json:"started_by,omitempty"`
	At             time.Time `json:"at"`
	ExitCode       *int32    `json:"exit_code" jsonschema:"nullable"` // nil when the container never started
	Reason         string    `json:"reason,omitempty"`
}

// Failed reports whether the run failed.
func (r JobRun) Failed() bool { return r.ExitCode == nil || *r.ExitCode != 0 }

// Result returns the exit code of the run, or why it has none.
func (r JobRun) Result() string {
	if r.ExitCode == nil {
		return r.Reason
	}
	return fmt.Sprintf("exit code %d", *r.ExitCode)
}

// Tasks counts tasks, and those that are healthy behind the load balancer.
type Tasks struct {
	Desired   int32 `json:"desired"`
	Running   int32 `json:"running"`
	Pending   int32 `json:"pending"`
	Healthy   int32 `json:"healthy"`
	Unhealthy int32 `json:"unhealthy"`
}

// Deployment is a deployment of a service.
type Deployment struct {
	ID      string  `json:"id"`
	Status  string  `json:"status"`
	Rollout string  `json:"rollout"`
	Reason  string  `json:"reason,omitempty"`
	Version Version `json:"version"`
	Desired int32   `json:"desired"`
	Running int32   `json:"running"`
	Pending int32   `json:"pending"`
	Failed  int32   `json:"failed"`
}

// PastRelease is a past deployment of a service.
type PastRelease struct {
	At time.Time `json:"at"`
	// FinishedAt is when the deployment ended; absent if it has not.
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Status     string    `json:"status"`
	Reason     string    `json:"reason,omitempty"`
	Version    Version   `json:"version"`
}

// Unfinished is a release that only some of its services run.
type Unfinished struct {
	Release string   `json:"release"`
	SHA     string   `json:"sha"`
	Arrived []string `json:"arrived"`
	Missing []string `json:"missing"`
}

// JSON writes the status as one indented JSON document.
func (s Status) JSON(w io.Writer) error { return WriteJSON(w, s.normalize()) }

// normalize replaces nil lists by empty ones.
func (s Status) normalize() Status {
	s.Services = orEmpty(s.Services)
	for i := range s.Services {
		service := &s.Services[i]
		service.Deployments, service.Releases, service.Drift = orEmpty(service.Deployments), orEmpty(service.Releases), orEmpty(service.Drift)
		if service.Job != nil {
			service.Job.Runs = orEmpty(service.Job.Runs)
		}
	}
	if s.Figures != nil {
		figures := *s.Figures
		figures.Releases = orEmpty(figures.Releases)
		s.Figures = &figures
	}
	if s.With != nil {
		with := s.With.normalize()
		s.With = &with
	}
	return s
}

// Text writes the status for a terminal.
func (s Status) Text(w io.Writer) error {
	if s.With != nil {
		return s.comparedText(w)
	}
	var b strings.Builder
	b.WriteString(environmentLine(s.Environment))
	for _, service := range s.Services {
		if !service.known() {
			fmt.Fprintf(&b, "%-12s %s\n  %s\n", service.Name, service.State, service.Error)
			continue
		}
		fmt.Fprintf(&b, "%-12s %-10s %s  %s  %s\n", service.Name, service.State, service.Version.Short(), lastSegment(service.Version.TaskDefinition), service.tasks())
		if service.Cluster != "" {
			fmt.Fprintf(&b, "  in cluster %s\n", service.Cluster)
		}
		if service.Detail != "" {
			fmt.Fprintf(&b, "  %s\n", service.Detail)
		}
		if shift := service.Shift.text(service.Strategy, "\n  "); shift != "" {
			fmt.Fprintf(&b, "  %s\n", shift)
		}
		if service.Error != "" {
			fmt.Fprintf(&b, "  %s\n", service.Error)
		}
		fmt.Fprintf(&b, "  %s\n  since %s\n", service.Version.Image, formatTime(service.Since))
		if len(service.Deployments) > 1 {
			for _, d := range service.Deployments {
				fmt.Fprintf(&b, "  %-8s %s  %s  %d of %d run, %d failed  %s\n", d.Status, d.ID, d.Version.Short(), d.Running, d.Desired, d.Failed, d.Rollout)
			}
		}
		for _, drift := range service.Drift {
			fmt.Fprintf(&b, "  drift: %s\n", drift)
		}
		if service.Job != nil {
			for _, run := range service.Job.Runs {
				fmt.Fprintf(&b, "    %s  %s  %s  %s\n", formatTime(run.At), lastSegment(run.TaskDefinition), lastSegment(run.Task), run.Result())
			}
		}
		for _, past := range service.Releases {
			fmt.Fprintf(&b, "    %s  %-12s %s  %s\n", formatTime(past.At), past.Version.Short(), strings.ToLower(past.Status), past.Reason)
		}
	}
	if u := s.Unfinished; u != nil {
		fmt.Fprintf(&b, "unfinished: release %s runs on %s and not on %s\n", u.Release, strings.Join(u.Arrived, ", "), strings.Join(u.Missing, ", "))
	}
	if s.URL != "" {
		fmt.Fprintf(&b, "%s\n", s.URL)
	}
	if s.Next != "" {
		fmt.Fprintf(&b, "next: %s\n", s.Next)
	}
	s.Figures.text(&b)
	if infra, ok := s.Infra.(Document); ok {
		b.WriteString("\n")
		if err := infra.Text(&b); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// environmentLine names the environment, if there are several.
func environmentLine(name string) string { return prefixed("environment ", suffixed(name, "\n")) }

// known reports whether the service's state could be read.
func (s ServiceStatus) known() bool { return s.State != Missing && s.State != Unknown }

// tasks formats the counts of tasks.
func (s ServiceStatus) tasks() string {
	if !s.known() {
		return "-"
	}
	if s.Job != nil {
		return strings.ToLower(s.Job.State) + ", " + s.Job.Schedule + prefixed(" ", s.Job.Timezone)
	}
	text := fmt.Sprintf("%d of %d run", s.Tasks.Running, s.Tasks.Desired)
	if s.Tasks.Healthy+s.Tasks.Unhealthy > 0 {
		text += fmt.Sprintf(", %d healthy", s.Tasks.Healthy)
	}
	if s.Tasks.Unhealthy > 0 {
		text += fmt.Sprintf(", %d unhealthy", s.Tasks.Unhealthy)
	}
	return text
}

// Markdown writes the status for a job summary.
func (s Status) Markdown(w io.Writer) error {
	if s.With != nil {
		return s.comparedMarkdown(w)
	}
	var b strings.Builder
	b.WriteString("## What runs" + prefixed(" in ", Inline(s.Environment)) + "\n\n| service | state | version | task definition | tasks | since |\n|---|---|---|---|---|---|\n")
	for _, service := range s.Services {
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s |\n", service.Name, service.State, service.Version.Short(),
			codeSpan(lastSegment(service.Version.TaskDefinition)), service.tasks(), formatTime(service.Since))
	}
	for _, service := range s.Services {
		if shift := service.Shift.text(service.Strategy, "; "); shift != "" {
			fmt.Fprintf(&b, "\n- %s: %s", service.Name, Inline(shift))
		}
		if service.Error != "" {
			fmt.Fprintf(&b, "\n- %s: %s", service.Name, Inline(service.Error))
		}
		for _, drift := range service.Drift {
			fmt.Fprintf(&b, "\n- %s drift: %s", service.Name, drift)
		}
	}
	if s.Unfinished != nil {
		fmt.Fprintf(&b, "\n> Release `%s` runs on %s and not on %s. %s.\n", s.Unfinished.Release,
			strings.Join(s.Unfinished.Arrived, ", "), strings.Join(s.Unfinished.Missing, ", "), s.Next)
	}
	s.Figures.markdown(&b)
	if infra, ok := s.Infra.(Document); ok {
		b.WriteString("\n")
		if err := infra.Markdown(&b); err != nil {
			return err
		}
	}
	return WriteMarkdown(w, b.String())
}

// formatTime formats a time in UTC, "-" for none.
func formatTime(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format("2006-01-02 15:04:05Z")
}
