package pipeline

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// PromoteOptions are the options of [Pipeline.Promote].
type PromoteOptions struct {
	delivery.PromoteOptions
	// From and To are the names of environments; an empty From is the target's promote_from.
	From, To string
	Services []string
	// FailOn and Exceptions are those of [ScanOptions].
	FailOn, Exceptions string
}

// Promote releases in an environment what another one runs, without building anything. It
// returns an error only if the release did not start.
func (p Pipeline) Promote(ctx context.Context, o PromoteOptions) (report.Release, error) {
	source, target, err := platform.SelectPromotion(p.Dir, o.From, o.To)
	if err != nil {
		return report.Release{}, err
	}
	if o.Scan, err = p.scan(o.FailOn, o.Exceptions); err != nil {
		return report.Release{}, err
	}
	from, err := p.other(source.Name).delivery(ctx, o.Services, true)
	if err != nil {
		return report.Release{}, err
	}
	p.Environment = target.Name
	to, err := p.deployment(ctx, o.Services, true)
	if err != nil {
		return report.Release{}, err
	}
	o.CI = p.CI
	return to.WithNotifications(p.Notify, "promote", func(d delivery.Delivery) report.Release { return d.Promote(ctx, from, o.PromoteOptions) }), nil
}

// DiffRunning returns how what an environment runs differs from what another one runs.
func (p Pipeline) DiffRunning(ctx context.Context, services []string, with string) (report.Diff, error) {
	d, other, err := p.both(ctx, services, with)
	if err != nil {
		return report.Diff{}, err
	}
	return d.DiffRunning(ctx, other)
}

// both returns the deliveries to the environment and to the one to compare it with.
func (p Pipeline) both(ctx context.Context, services []string, with string) (d, other delivery.Delivery, err error) {
	all, err := platform.Environments(p.Dir)
	if err != nil {
		return d, other, err
	}
	environment, err := platform.FindEnvironment(all, p.Environment)
	if err != nil {
		return d, other, err
	}
	if _, err := platform.FindEnvironment(all, with); err != nil {
		return d, other, outcome.Usagef("--with: %w", err)
	}
	if with == environment.Name {
		return d, other, outcome.Usagef("cannot compare %s with itself: name another environment with --with", with)
	}
	if d, err = p.delivery(ctx, services, true); err != nil {
		return d, other, err
	}
	other, err = p.other(with).delivery(ctx, services, true)
	return d, other, err
}
