package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Pause is where a release waits for a person to continue or abort it.
type Pause struct {
	Stage string    `json:"stage"` // as for --pause-at, such as post-test-traffic-shift
	Until time.Time `json:"until"` // then ECS rolls it back
	// Continue and Abort are the commands to run.
	Continue string `json:"continue"`
	Abort    string `json:"abort"`
}

// NewPause returns a pause at one of ECS's stages; command returns how to run a stage of
// the pipeline.
func NewPause(stage string, until time.Time, command func(stage string) string) *Pause {
	return &Pause{StageName(stage), until.UTC(), command("continue"), command("abort")}
}

// StageName returns the name of one of ECS's lifecycle stages as for --pause-at.
func StageName(stage string) string { return strings.ReplaceAll(strings.ToLower(stage), "_", "-") }

func (p Pause) text() string {
	return fmt.Sprintf("paused at %s until %s; then ECS restores the previous version", p.Stage, formatTime(p.Until))
}

// Shift is the deployment strategy of a service that is not only rolled, and how far its
// deployment is.
type Shift struct {
	// Percent is the share of traffic of the canary or of a linear step; 0 for others.
	Percent float64 `json:"percent,omitempty"`
	// StepBakeMinutes is the wait after the canary or a linear step, BakeMinutes after all
	// traffic was shifted.
	StepBakeMinutes int `json:"step_bake_minutes,omitempty"`
	BakeMinutes     int `json:"bake_minutes"`
	// Stage is the lifecycle stage of the deployment in progress, with ECS's name; empty
	// if there is none.
	Stage string `json:"stage,omitempty"`
	// Share is the percentage of production traffic that the new version receives.
	Share float64 `json:"share"`
	Hooks []Hook  `json:"hooks,omitempty"`
}

// Hook is a lifecycle hook of a service.
type Hook struct {
	Stages []string `json:"stages"`
	// Target is the ARN of its Lambda function, or PAUSE.
	Target string `json:"target"`
	// Status is that in the deployment in progress, with ECS's name, and Until when a
	// hook that awaits a decision expires.
	Status string    `json:"status,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// shift describes how far ECS has shifted the traffic of the service, "" if it is rolled.
func (s Service) shift() string {
	if s.Strategy == "" || s.Stage == "" {
		return s.Strategy
	}
	return s.Strategy + ", " + stageText(s.Stage, s.Percent)
}

func stageText(stage string, share float64) string {
	return fmt.Sprintf("stage %s, %s of the traffic to the new version", stage, percent(share))
}

// text describes a strategy, "" for ROLLING, and how far the deployment is, in parts that
// separator separates. s may be nil. It returns "" for a service that is only rolled.
func (s *Shift) text(strategy, separator string) string {
	line := "strategy " + cmp.Or(strategy, "ROLLING")
	switch {
	case s == nil && strategy == "":
		return ""
	case s == nil:
		return line
	}
	if s.Percent > 0 {
		line += fmt.Sprintf(" with %s and %d min per step", percent(s.Percent), s.StepBakeMinutes)
	}
	if strategy != "" {
		line += fmt.Sprintf(", bake %d min", s.BakeMinutes)
	}
	lines := []string{line}
	if s.Stage != "" {
		lines = append(lines, stageText(s.Stage, s.Share))
	}
	for _, hook := range s.Hooks {
		line := fmt.Sprintf("hook %s at %s", hook.Target, strings.Join(hook.Stages, ", ")) + prefixed(": ", hook.Status)
		if !hook.Until.IsZero() {
			line += " until " + formatTime(hook.Until)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, separator)
}

// percent formats a percentage with at most one decimal.
func percent(share float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", share), ".0") + " %"
}
