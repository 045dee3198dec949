package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Names of the rehearsed environments.
const (
	Staging    = "staging"
	Production = platform.Production
)

// DefaultSoak is how long the new version runs in staging before it is promoted.
const DefaultSoak = time.Second

// rehearsedEnvironments are those of a tree that has not both of them.
var rehearsedEnvironments = []platform.Environment{
	{Name: Staging, AccountID: "111111111111", NamePrefix: "stg"},
	{Name: Production, AccountID: "222222222222"},
}

// PipelineOptions configure [RunPipeline].
type PipelineOptions struct {
	// Environments are those of the source tree. Those named staging and production are
	// rehearsed, if there are both.
	Environments []platform.Environment
	// FaultIn is the environment of the scenario's fault; empty means [Staging].
	FaultIn string
	// Soak is how long the new version runs in staging; 0 means a second.
	Soak time.Duration
	// Up, if set, is called after the promotion, while both systems still run, with the
	// endpoints of their embedded AWS. They are stopped when it returns.
	Up func(staging, production string, release report.Release)
}

// pipeline is the state of a rehearsal of two environments.
type pipeline struct {
	options             PipelineOptions
	recorder            *report.Recorder
	staging, production *rehearsal
	before              map[string]string // digests in production
}

// RunPipeline rehearses a delivery to an embedded account and its promotion to a second
// one. The report is that of production, with the one of staging in it. If the release in
// staging fails, nothing is promoted, and production is unchanged.
func RunPipeline(ctx context.Context, options Options, o PipelineOptions, recorder *report.Recorder) report.Release {
	if o.Soak == 0 {
		o.Soak = DefaultSoak
	}
	p := &pipeline{options: o, recorder: recorder}
	release, err := p.run(ctx, options)
	if err != nil {
		release.Fail(err)
	}
	p.complete(&release)
	return release
}

// complete adds the state of production to its report.
func (p *pipeline) complete(release *report.Release) {
	p.recorder.Fill(release)
	release.Environment = Production
	if p.staging == nil {
		return
	}
	release.SHA = p.staging.version
	if release.Services == nil { // nothing was promoted
		for _, s := range p.production.options.Platform.Services {
			release.Services = append(release.Services, report.Service{Name: s.Name, Result: report.Unchanged})
		}
		if release.Staging != nil && release.ExitCode == outcome.Unrestored {
			release.Next = release.Staging.Next
		}
	}
}

// setUp makes the rehearsals of both environments.
func (p *pipeline) setUp(options Options) error {
	switch p.options.FaultIn {
	case "", Staging, Production:
	default:
		return outcome.Usagef("invalid --fault-in %q: want %s or %s", p.options.FaultIn, Staging, Production)
	}
	options, err := options.withStrategy()
	if err != nil {
		return err
	}
	rehearsed := slices.DeleteFunc(slices.Clone(p.options.Environments), func(e platform.Environment) bool { return e.Name != Staging && e.Name != Production })
	if len(rehearsed) < len(rehearsedEnvironments) {
		rehearsed = rehearsedEnvironments
	}
	var both []*rehearsal
	for _, defaults := range rehearsedEnvironments {
		e := rehearsed[slices.IndexFunc(rehearsed, func(e platform.Environment) bool { return e.Name == defaults.Name })]
		own := options
		own.Up = nil
		if own.Platform, err = options.Platform.In(e); err != nil {
			return err
		}
		recorder := p.recorder
		if e.Name == Staging {
			recorder = recorder.WithContext(context.Background()) // it shows a restore after an interruption, too
			own.Listen = "127.0.0.1:0"                            // the address is that of production
		}
		if (p.options.FaultIn == Production) != (e.Name == Production) {
			own.Scenario = Happy
		}
		both = append(both, newRehearsal(own, recorder, newPlace(e, defaults.AccountID)))
	}
	p.staging, p.production = both[0], both[1]
	return nil
}

// run starts both accounts and runs the stages. Its errors are those outside of a release.
func (p *pipeline) run(ctx context.Context, options Options) (release report.Release, err error) {
	if err := p.setUp(options); err != nil {
		return release, err
	}
	for _, r := range []*rehearsal{p.production, p.staging} {
		if err := r.start(ctx); err != nil {
			return release, err
		}
		defer func() { err = errors.Join(err, r.close()) }()
	}
	builder := *p.staging // with the fault's scenario, on the production's recorder
	builder.recorder, builder.options.Scenario = p.recorder, options.Scenario
	builder.faultByTaskDefinition = p.options.FaultIn == Production
	if err := builder.testAndBuild(ctx); err != nil {
		return release, err
	}
	p.staging.images, p.production.images = builder.images.in(p.staging.options.Platform), builder.images.in(p.production.options.Platform)
	if err := p.bootstrap(ctx, options.Scenario); err != nil {
		return release, err
	}
	staging, err := p.releaseToStaging(ctx)
	if err != nil {
		release.Staging = &staging
		return release, err
	}
	release, err = p.promote(ctx)
	release.Staging = &staging
	if err == nil && p.options.Up != nil && ctx.Err() == nil {
		final := release
		p.complete(&final)
		p.options.Up(p.staging.server.Endpoint(), p.production.server.Endpoint(), final)
	}
	return release, err
}

// in returns the images for the services of a platform, which have the same names.
func (v imageSets) in(p platform.Platform) imageSets {
	for _, images := range []*[]image.Image{&v.previous, &v.next} {
		*images = slices.Clone(*images)
		for n, img := range *images {
			at := slices.IndexFunc(p.Services, func(s platform.Service) bool { return s.Name == img.Service.Name })
			(*images)[n].Service = p.Services[at]
		}
	}
	return v
}

// bootstrap creates both platforms and starts the previous version.
func (p *pipeline) bootstrap(ctx context.Context, scenario Scenario) error {
	return p.production.stage("bootstrap", func() error {
		var problems [2]error
		var both sync.WaitGroup
		for n, r := range []*rehearsal{p.staging, p.production} {
			both.Go(func() {
				if problems[n] = r.prepare(ctx); problems[n] == nil {
					problems[n] = r.bootstrap(ctx)
				}
			})
		}
		both.Wait()
		err := errors.Join(problems[:]...)
		if err == nil && p.options.FaultIn == Production && scenario.fault() != "" {
			err = p.production.registerFault(ctx, scenario)
		}
		if err == nil {
			p.before, err = p.production.digests(ctx)
		}
		return err
	})
}

// registerFault registers a revision of the target that starts the faulty app of the next
// image, as a change of production's configuration does that staging does not have.
func (r *rehearsal) registerFault(ctx context.Context, scenario Scenario) error {
	definition := r.environment.definitions.define(r.target)
	definition.ContainerDefinitions[0].EntryPoint = []string{"/faultyapp", scenario.fault(), strings.Join(r.target.Command, " ")}
	if _, err := r.environment.ecs.RegisterTaskDefinition(ctx, definition); err != nil {
		return fmt.Errorf("registering %s: %w", r.target.Family(), err)
	}
	return nil
}

// releaseToStaging releases to staging and waits for the soak. The error is the reason not
// to promote, with the exit code of a delivery that leaves production unchanged.
func (p *pipeline) releaseToStaging(ctx context.Context) (report.Release, error) {
	r := p.staging
	r.recorder.SetEnvironment(Staging)
	if err := r.publish(ctx); err != nil {
		return report.Release{}, fmt.Errorf("%s: %w", Staging, err)
	}
	var release report.Release
	err := p.production.stage(Staging, func() (err error) {
		release, err = r.releaseBy(ctx, deploy, func() error { return p.soak(ctx) })
		return errors.Join(err, notPromoted(release))
	})
	release.SHA = r.version
	r.recorder.Fill(&release)
	if err == nil {
		return release, nil
	}
	return release, p.verify(ctx, err, func(ctx context.Context) error {
		return p.production.runs(ctx, previousVersion, p.before)
	})
}

// verify checks what runs after a failure, also after an interruption. It returns
// failure, or an error of the checks, which needs action by hand.
func (p *pipeline) verify(ctx context.Context, failure error, checks ...func(context.Context) error) error {
	err := p.production.stage("verify", func() error {
		for _, check := range checks {
			if err := check(context.WithoutCancel(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return outcome.With(outcome.Unrestored, errors.Join(failure, err))
	}
	return failure
}

// runs fails unless a version runs with the digests.
func (r *rehearsal) runs(ctx context.Context, version string, want map[string]string) error {
	got, err := r.digests(ctx)
	if err != nil {
		return err
	}
	for _, s := range r.options.Platform.Services {
		if got[s.Name] != want[s.Name] {
			return fmt.Errorf("%s runs %s of %s, and not %s as before", r.place.environment.Name, got[s.Name], s.Name, want[s.Name])
		}
	}
	return r.smokeTest(ctx, version)
}

// notPromoted returns why a release in staging is not promoted, or nil if it is. A release
// that was restored there failed with production unchanged.
func notPromoted(release report.Release) error {
	code := release.ExitCode
	switch code {
	case outcome.Done:
		return nil
	case outcome.Restored:
		code = outcome.Failed
	}
	reason := string(release.Result)
	if release.Error != "" {
		reason += ": " + release.Error
	}
	return outcome.With(code, fmt.Errorf("not promoted to %s: the release in %s is %s", Production, Staging, reason))
}

// soak waits while the new version runs in staging, and tests it again.
func (p *pipeline) soak(ctx context.Context) error {
	return p.production.stage("soak", func() error {
		err := clock.Real{}.Sleep(ctx, p.options.Soak)
		if err == nil {
			err = p.staging.smokeTest(ctx, p.staging.version)
		}
		if err != nil {
			return fmt.Errorf("not promoted to %s: the soak in %s failed: %w", Production, Staging, err)
		}
		return nil
	})
}

// promote promotes what staging runs and compares what runs in both environments.
func (p *pipeline) promote(ctx context.Context) (report.Release, error) {
	p.recorder.SetEnvironment(Production)
	promoted, err := p.staging.digests(ctx)
	if err != nil {
		return report.Release{}, err
	}
	from := p.staging.delivery(p.staging.transport)
	release, err := p.production.releaseBy(ctx, func(ctx context.Context, to delivery.Delivery, o delivery.Options) report.Release {
		o.SHA = "" // what runs there
		scan := delivery.Scan{FailOn: supplychain.ThresholdNone}
		return to.Promote(ctx, from, delivery.PromoteOptions{Options: o, Soak: p.options.Soak, Scan: scan})
	}, func() error {
		return p.production.stage("compare", func() error { return p.compare(ctx) })
	})
	if err != nil || release.Result == report.Succeeded {
		return release, err
	}
	checks := []func(context.Context) error{func(ctx context.Context) error { return p.staging.runs(ctx, p.staging.version, promoted) }}
	if release.ExitCode != outcome.Unrestored {
		checks = append(checks, func(ctx context.Context) error { return p.production.runs(ctx, previousVersion, p.before) })
	}
	return release, p.verify(ctx, nil, checks...)
}

// compare fails unless both environments run the same digests.
func (p *pipeline) compare(ctx context.Context) error {
	staging, err := p.staging.digests(ctx)
	if err != nil {
		return err
	}
	production, err := p.production.digests(ctx)
	if err != nil {
		return err
	}
	for _, s := range p.production.options.Platform.Services {
		if staging[s.Name] == "" || staging[s.Name] != production[s.Name] {
			return outcome.With(outcome.Unrestored, fmt.Errorf("%s of %s runs %s in %s and %s in %s", s.Name, p.staging.version, staging[s.Name], Staging, production[s.Name], Production))
		}
		p.recorder.Event(s.Name, "runs "+production[s.Name]+" in both environments")
	}
	return nil
}

// digests returns the digests of what runs, by the name of the entry.
func (r *rehearsal) digests(ctx context.Context) (map[string]string, error) {
	status, err := r.delivery(r.transport).Status(ctx)
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for _, s := range status.Services {
		_, digests[s.Name], _ = strings.Cut(s.Version.Image, "@")
	}
	return digests, nil
}
