package rollout

import (
	"context"
	"errors"
	"time"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/report"
)

// UnfinishedRelease is a release whose deployments are in progress or paused.
type UnfinishedRelease struct {
	ID, SHA  string
	Services []string // entries that run it, or are being updated to it
	// Progressive reports whether ECS shifts traffic of the release in steps.
	Progressive bool
	// Paused reports whether all services whose traffic is shifted wait at Stage, and Expires
	// when ECS rolls the first of them back.
	Paused  bool
	Stage   string // the earliest lifecycle stage, "" if ECS names none
	Expires time.Time
}

// Unfinished returns the release of the services that is in progress or paused, nil if none
// is. It changes nothing.
func (e Engine) Unfinished(context.Context, []platform.Service) (*UnfinishedRelease, error) {
	return nil, errors.New("not implemented")
}

// Abort restores the previous versions of the services' unfinished release, whichever
// process started it. The exit code is 0 if all services run the previous version.
func (e Engine) Abort(context.Context, []platform.Service) report.Release {
	return report.Release{}
}
