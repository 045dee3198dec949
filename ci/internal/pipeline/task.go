package pipeline

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Run runs a standalone task of a service or job. It returns an error only if the task was
// not looked at.
func (p Pipeline) Run(ctx context.Context, service string, o delivery.RunOptions) (report.Run, error) {
	d, err := p.delivery(ctx, []string{service}, true)
	if err != nil {
		return report.Run{}, err
	}
	return d.Run(ctx, o), nil
}

// Logs returns the logs of services, of all without names.
func (p Pipeline) Logs(ctx context.Context, services []string, o delivery.LogOptions) (report.Logs, error) {
	d, err := p.delivery(ctx, services, true)
	if err != nil {
		return report.Logs{}, err
	}
	return d.Logs(ctx, o)
}
