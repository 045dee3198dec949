package pipeline

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// PreviewUp creates or updates a preview. It returns an error only if nothing was done.
func (p Pipeline) PreviewUp(ctx context.Context, services []string, o delivery.PreviewOptions) (report.Preview, error) {
	if err := o.CheckPreview(); err != nil {
		return report.Preview{}, err
	}
	d, err := p.deployment(ctx, services, o.SHA != "")
	if err != nil {
		return report.Preview{}, err
	}
	o.Named = services
	return d.PreviewUp(ctx, o), nil
}

// PreviewDown removes a preview.
func (p Pipeline) PreviewDown(ctx context.Context, number int) (report.PreviewRemoval, error) {
	if err := delivery.CheckPreviewNumber(number); err != nil {
		return report.PreviewRemoval{}, err
	}
	d, err := p.delivery(ctx, nil, true)
	if err != nil {
		return report.PreviewRemoval{}, err
	}
	return d.PreviewDown(ctx, number)
}

// PreviewSweep removes the previews that have expired, or whose request is closed.
func (p Pipeline) PreviewSweep(ctx context.Context, o delivery.SweepOptions) (report.PreviewRemoval, error) {
	d, err := p.delivery(ctx, nil, true)
	if err != nil {
		return report.PreviewRemoval{}, err
	}
	return d.PreviewSweep(ctx, o)
}

// Previews returns the previews of the environment.
func (p Pipeline) Previews(ctx context.Context) (report.Previews, error) {
	d, err := p.delivery(ctx, nil, true)
	if err != nil {
		return report.Previews{}, err
	}
	return d.Previews(ctx)
}
