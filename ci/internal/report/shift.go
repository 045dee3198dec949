package report

import (
	"cmp"
	"fmt"
	"strings"
)

// StageName returns the name of one of ECS's lifecycle stages as for --pause-at.
func StageName(stage string) string { return strings.ReplaceAll(strings.ToLower(stage), "_", "-") }

func (p Pause) text() string {
	if p.Until.IsZero() {
		return "paused at " + StageName(p.Stage)
	}
	return fmt.Sprintf("paused at %s until %s; then ECS restores the previous version", StageName(p.Stage), formatTime(p.Until))
}

// shift describes how far ECS has shifted the traffic of the service, "" if it is rolled.
func (s Service) shift() string {
	if s.Strategy == "" || s.Stage == "" {
		return s.Strategy
	}
	return fmt.Sprintf("%s: %s, %s of the traffic to the new version", s.Strategy, s.Stage, percent(s.Percent))
}

// text describes a deployment strategy, "" for ROLLING, and the state of its deployment in
// parts that separator separates. s may be nil.
func (s *Shift) text(strategy, separator string) string {
	parts := []string{"strategy " + cmp.Or(strategy, "ROLLING")}
	if s == nil {
		return parts[0]
	}
	if s.Stage != "" {
		parts = append(parts, fmt.Sprintf("stage %s, %s of the traffic to the new version, bake %d min", s.Stage, percent(s.Percent), s.Bake))
	}
	for _, hook := range s.Hooks {
		part := "hook " + hook.Type + prefixed(" ", hook.Target) + prefixed(": ", hook.Status)
		if !hook.Expires.IsZero() {
			part += " until " + formatTime(hook.Expires)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, separator)
}

// percent formats a percentage with at most one decimal.
func percent(share float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", share), ".0") + " %"
}
