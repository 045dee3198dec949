// Package rehearsal rehearses a whole delivery on one machine: it tests and builds the
// services, and releases their images on an embedded AWS, where they run as processes
// behind a load balancer. The code is the same as for AWS.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	account "github.com/slipway-cd/slipway/ci/internal/images/ecr"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// previousVersion is the name of the version that runs before the release.
const previousVersion = "previous"

// Options configure a rehearsal.
type Options struct {
	Source   source.Tree
	Platform platform.Platform
	Lock     image.Lock
	Exec     step.Executor
	Scenario Scenario
	// Strategy is the type of the deployment strategy of all web services; "" means as in the
	// services file.
	Strategy string
	// Cache is the directory of the build cache, see [image.Builder]; empty means
	// none.
	Cache string
	// Test tests the services while their images are built; nil skips the tests.
	Test func(context.Context) error
	// Listen is the address of the embedded AWS; "127.0.0.1:0" takes a free port.
	Listen string
	// Live shows the tasks and requests during the release.
	Live bool
	// Started, if set, is called with the embedded AWS before its first call. The
	// delivery's calls are signed with the access key [PipelineAccessKey], or sent to the
	// registry; all other calls are signed with another key.
	Started func(*localaws.Server)
	// Up, if set, is called after the release, while the system still runs, with the
	// endpoint of the embedded AWS. The system is stopped when it returns.
	Up func(endpoint string, release report.Release)
}

// rehearsal is the state of a rehearsal in one embedded account.
type rehearsal struct {
	options     Options
	recorder    *report.Recorder
	target      platform.Service
	version     string
	dirty       bool // the tree differs from its commit
	images      imageSets
	place       place
	scale       int // see timeScale
	server      *localaws.Server
	transport   *http.Transport
	environment *environment // for all calls but the delivery's
	// faultByTaskDefinition adds the faulty app to the image without running it: a task
	// definition names it.
	faultByTaskDefinition bool
}

// newRehearsal returns a rehearsal in an environment.
func newRehearsal(options Options, recorder *report.Recorder, at place) *rehearsal {
	return &rehearsal{options: options, recorder: recorder, target: chooseTarget(options.Platform.Services), place: at, scale: timeScale(options.Platform.Services)}
}

// Run rehearses a delivery and returns the release's report. It leaves no process,
// socket or file behind.
func Run(ctx context.Context, options Options, recorder *report.Recorder) report.Release {
	var release report.Release
	options, err := options.withStrategy()
	if err == nil {
		r := newRehearsal(options, recorder, newPlace(options.Platform.Environment, defaultAccount))
		release, err = r.run(ctx)
		release.SHA = r.version
	}
	if err != nil {
		release.Fail(err)
	}
	recorder.Fill(&release)
	return release
}

// run starts the embedded AWS and runs the stages. Its errors are those outside the
// release.
func (r *rehearsal) run(ctx context.Context) (report.Release, error) {
	// The embedded AWS starts first, so that an address in use fails at once.
	if err := r.start(ctx); err != nil {
		return report.Release{}, err
	}
	release, err := r.stages(ctx)
	return release, errors.Join(err, r.close())
}

// start reads the version and starts the embedded AWS. It outlives an interruption, after
// which the previous version is restored.
func (r *rehearsal) start(ctx context.Context) error {
	revision, err := r.options.Source.Revision(ctx)
	if err != nil {
		return err
	}
	r.version, r.dirty = revision.Version(), revision.Dirty
	r.server, err = localaws.Start(context.WithoutCancel(ctx), localaws.Options{
		Listen: r.options.Listen, Account: r.place.account, Region: r.place.region,
		TimeScale: float64(r.scale), UncheckedStart: uncheckedStart * time.Duration(r.scale),
	})
	if err != nil {
		return err
	}
	r.transport = http.DefaultTransport.(*http.Transport).Clone()
	r.environment = newEnvironment(r.place, r.scale, r.place.awsConfig(r.server.Endpoint(), otherAccessKey, r.transport))
	if r.options.Started != nil {
		r.options.Started(r.server)
	}
	return nil
}

// close stops the embedded AWS.
func (r *rehearsal) close() error {
	r.transport.CloseIdleConnections()
	return r.server.Close()
}

func (r *rehearsal) stages(ctx context.Context) (report.Release, error) {
	if err := r.testAndBuild(ctx); err != nil {
		return report.Release{}, err
	}
	if err := r.prepare(ctx); err != nil {
		return report.Release{}, err
	}
	if err := r.publish(ctx); err != nil {
		return report.Release{}, err
	}
	if err := r.stage("bootstrap", func() error { return r.bootstrap(ctx) }); err != nil {
		return report.Release{}, err
	}
	release, err := r.release(ctx)
	if err != nil {
		return release, err
	}
	if r.options.Up != nil && ctx.Err() == nil {
		final := release
		final.SHA = r.version
		r.recorder.Fill(&final)
		r.options.Up(r.server.Endpoint(), final)
	}
	return release, nil
}

// testAndBuild tests the services and builds the images.
func (r *rehearsal) testAndBuild(ctx context.Context) error {
	var tested, built error
	var both sync.WaitGroup
	if r.options.Test != nil {
		both.Go(func() { tested = r.stage("test", func() error { return r.options.Test(ctx) }) })
	}
	both.Go(func() { built = r.stage("build", func() error { return r.build(ctx) }) })
	both.Wait()
	return errors.Join(tested, built)
}

func (r *rehearsal) stage(name string, run func() error) error {
	return r.recorder.Stage(name, func() (report.Result, error) { return report.Succeeded, run() })
}

// build builds the images of both versions. If the embedded AWS runs only static programs,
// images of others are built to find errors, and then replaced by stand-ins.
func (r *rehearsal) build(ctx context.Context) error {
	builder := image.Builder{
		Source: r.options.Source, Exec: r.options.Exec, Lock: r.options.Lock,
		Platforms: []v1.Platform{image.HostPlatform()}, Offline: true, Cache: r.options.Cache,
	}
	built, err := builder.Build(ctx, r.options.Platform.Services)
	if err != nil {
		return err
	}
	for n, img := range built {
		if r.server.RunsImages() || img.Service.Kind != platform.Dockerfile || isStandIn(img) {
			continue
		}
		if built[n], err = standIn(ctx, builder, img.Service); err != nil {
			return err
		}
	}
	if r.images, err = r.prepareImages(ctx, built); err != nil {
		return err
	}
	r.images.sidecars, err = builder.Build(ctx, sidecarImages(r.options.Platform.Services))
	return err
}

// prepare creates the repositories.
func (r *rehearsal) prepare(ctx context.Context) error {
	services := r.options.Platform.Services
	for _, img := range r.images.sidecars {
		services = append(slices.Clip(services), img.Service)
	}
	return r.environment.createRepositories(ctx, services)
}

// publish publishes the images of the next version.
func (r *rehearsal) publish(ctx context.Context) error {
	d := r.delivery(r.transport)
	to, err := d.Account.Destination(ctx)
	if err != nil {
		return err
	}
	_, err = d.Publish(ctx, to, delivery.PublishOptions{SHA: r.version, Images: r.images.next})
	return err
}

// delivery returns the rehearsed delivery. It has no knowledge of the scenario.
func (r *rehearsal) delivery(transport http.RoundTripper) delivery.Delivery {
	d := delivery.Delivery{
		Account: delivery.NewAccount(r.place.awsConfig(r.server.Endpoint(), PipelineAccessKey, transport)), Environment: r.place.environment,
		Source: r.options.Source, All: r.options.Platform.Services, Services: r.options.Platform.Services,
		Lock: r.options.Lock, Exec: r.options.Exec, Recorder: r.recorder, SmokeTimeout: smokeTimeout, Clock: scaledClock{scale: r.scale},
	}
	if r.dirty {
		d.Version = r.version
	}
	return d
}

// bootstrap creates the platform and starts the previous version.
func (r *rehearsal) bootstrap(ctx context.Context) error {
	target, err := account.Account{API: r.environment.ecr}.Login(ctx)
	if err != nil {
		return err
	}
	defer target.Close()
	d := definitions{place: r.place, images: map[string]string{}, standIns: map[string]bool{}}
	publish := func(img image.Image) (string, error) {
		published, err := target.Publish(ctx, registry.Publication{
			Repository: img.Service.Repository(), Tag: previousVersion, Index: img.Index,
			Latest: registry.LatestPolicy{Reason: "not needed in a rehearsal"},
		})
		if err != nil {
			return "", fmt.Errorf("publishing the previous version of %s: %w", img.Service.Name, err)
		}
		return published.Image, nil
	}
	for _, img := range r.images.previous {
		if d.images[img.Service.Name], err = publish(img); err != nil {
			return err
		}
		d.standIns[img.Service.Name] = isStandIn(img)
	}
	for _, img := range r.images.sidecars {
		if d.images[img.Service.Image], err = publish(img); err != nil {
			return err
		}
	}
	if err := r.environment.bootstrap(ctx, r.options.Platform.Services, d); err != nil {
		return err
	}
	if err := r.smokeTest(ctx, previousVersion); err != nil {
		return fmt.Errorf("the services fail the smoke test before any release: %s: correct them, or health_path and routes in %s", outcome.JoinLines(err.Error()), platform.ServicesFile)
	}
	return nil
}

// release releases the next version while clients send requests, and verifies the
// result through the load balancer.
func (r *rehearsal) release(ctx context.Context) (report.Release, error) {
	return r.releaseBy(ctx, deploy, func() error { return nil })
}

// deploy releases from the tree.
func deploy(ctx context.Context, d delivery.Delivery, o delivery.Options) report.Release {
	return d.Deploy(ctx, o)
}

// releaseBy is [rehearsal.release] by another function. If the release succeeds, clients
// send requests until after has returned.
func (r *rehearsal) releaseBy(ctx context.Context, by releaseFunc, after func() error) (report.Release, error) {
	load := startTraffic(ctx, r.environment.url, trafficPaths(r.options.Platform.Services), len(r.environment.shifts) > 0)
	stopStatus := r.reportStatus(ctx, load)
	defer stopStatus()
	release := r.deliver(ctx, by)
	err := r.verifyRestored(ctx, release)
	if release.Result == report.Succeeded {
		release.Notes = append(release.Notes, r.runJobs(ctx, r.delivery(r.transport))...)
		err = after()
	}
	counted := load.close()
	byVersion, unexpected := r.trafficNotes()
	err = errors.Join(err, unexpected)
	release.Traffic, release.URL = &counted, r.environment.url
	if failure := load.firstFailure.Load(); failure != nil {
		release.Notes = append(release.Notes, "first failed request: "+*failure)
	}
	release.Notes = slices.Concat(release.Notes, byVersion, r.notes(), sidecarNotes(r.options.Platform.Services))
	return release, err
}

// releaseFunc releases the next version with a delivery.
type releaseFunc func(context.Context, delivery.Delivery, delivery.Options) report.Release

// deliver releases the next version, with the faults of the scenario.
func (r *rehearsal) deliver(ctx context.Context, by releaseFunc) report.Release {
	faultCtx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	faults := faultEnvironment{environment: r.environment, server: r.server, target: r.target, interrupt: interrupt}
	o := r.deliveryOptions()
	interrupted := r.delivery(r.options.Scenario.inject(ctx, transport, faults))
	var release report.Release
	switch r.options.Scenario {
	case Killed, KilledPaused:
		interrupted.Recorder = r.recorder.WithContext(faultCtx)
		interrupted.Clock = &killedClock{scaledClock: scaledClock{scale: r.scale}, alive: faultCtx}
		killed := o
		killed.RestoreTimeout = delivery.MinTimeout
		by(faultCtx, interrupted, killed)
		r.recorder.Event("", errKilled.Error()+": another process continues the release")
		release = by(ctx, r.delivery(r.transport), o)
	default:
		release = by(faultCtx, interrupted, o)
	}
	if release.Result == report.Paused {
		return r.decide(ctx, release)
	}
	return release
}

// verifyRestored runs the smoke test for the previous version if the release reports
// that it was restored.
func (r *rehearsal) verifyRestored(ctx context.Context, release report.Release) error {
	rolledBack := r.options.Scenario == HookTimeout && release.Result == report.Refused
	if release.Result != report.Restored && release.Result != report.Interrupted && !rolledBack {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // also after an interruption
	err := r.stage("smoke", func() error { return r.smokeTest(ctx, previousVersion) })
	if err != nil {
		return outcome.With(outcome.Unrestored, fmt.Errorf("the release reports the previous version as restored, but the smoke test fails: %w", err))
	}
	return nil
}

func (r *rehearsal) smokeTest(ctx context.Context, version string) error {
	versions := map[string]string{}
	for _, s := range r.options.Platform.Services {
		versions[s.Name] = version
	}
	tester := smoke.Tester{Clock: clock.Real{}, Timeout: smokeTimeout}
	return tester.Run(ctx, r.environment.url, smoke.Checks(r.options.Platform.Services, versions))
}

func (r *rehearsal) notes() []string {
	var notes, withoutBase []string
	for _, img := range r.images.next {
		switch {
		case isStandIn(img):
			notes = append(notes, fmt.Sprintf("a stand-in runs in place of the image of %s: %s", img.Service.Name, img.MissingBase))
		case img.MissingBase != "":
			withoutBase = append(withoutBase, img.Service.Name)
		}
	}
	if len(withoutBase) > 0 {
		notes = append(notes, "built without the base image, site served by the embedded load balancer: "+strings.Join(withoutBase, ", "))
	}
	return notes
}

// trafficPaths returns one path of each web service.
func trafficPaths(services []platform.Service) []string {
	var paths []string
	for _, s := range services {
		if !s.IsWeb() {
			continue
		}
		paths = append(paths, strings.TrimSuffix(s.Routes[0], "*"))
	}
	return paths
}
