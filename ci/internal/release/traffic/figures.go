// Package traffic is about the load balancer's traffic to the two versions of a service
// while ECS shifts it: the resources that ECS shifts it with, and whether the new version
// answers worse than the previous one.
package traffic

import (
	"fmt"
	"time"
)

// Figures are what the load balancer measured of a version.
type Figures struct {
	Requests int
	// Errors are the responses with status 5xx of the version itself.
	Errors int
	// P90 is the response time that 90 % of requests do not exceed: the mean of the minutes',
	// weighted by their requests.
	P90 time.Duration
}

// Limits of [Compare].
const (
	// MinRequests is how many requests a version needs for a verdict.
	MinRequests = 50
	// MinErrors is how many responses with 5xx are too few for one.
	MinErrors = 3
	// ErrorMargin is by how much of all responses the share of 5xx may be larger than the
	// previous version's.
	ErrorMargin = 0.01
	// SlowFactor and SlowMargin are by how much the response time may be larger: it fails if
	// it exceeds both.
	SlowFactor = 2
	SlowMargin = 200 * time.Millisecond
)

// Compare returns why a new version is worse than the previous one, or "" if it is not, or
// if it had fewer than [MinRequests] requests. A previous version without requests counts
// as one without errors; its response time is compared from [MinRequests], too.
func Compare(previous, current Figures) string {
	if current.Requests < MinRequests {
		return ""
	}
	was, is := previous.errorShare(), current.errorShare()
	if current.Errors >= MinErrors && is > was+ErrorMargin+1e-9 { // 2 % are not more than 1 % and 1 point
		return fmt.Sprintf("the new version answered %s with 5xx, the previous one %s: more than %.0f percentage point above it", current.errors(), previous.errors(), 100*ErrorMargin)
	}
	if previous.Requests >= MinRequests && current.P90 > SlowFactor*previous.P90 && current.P90 > previous.P90+SlowMargin {
		return fmt.Sprintf("the new version answers 90 %% of requests within %s, the previous one within %s: more than twice and more than %s longer",
			current.P90.Round(time.Millisecond), previous.P90.Round(time.Millisecond), SlowMargin)
	}
	return ""
}

func (f Figures) errorShare() float64 { return float64(f.Errors) / float64(max(f.Requests, 1)) }

func (f Figures) errors() string {
	return fmt.Sprintf("%d of %d requests (%.1f %%)", f.Errors, f.Requests, 100*f.errorShare())
}

// String formats the figures for the log of a release.
func (f Figures) String() string {
	if f.Requests == 0 {
		return "no requests"
	}
	return fmt.Sprintf("%s with 5xx, 90 %% within %s", f.errors(), f.P90.Round(time.Millisecond))
}
