package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/release/notify"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Delivery is one delivery to an account.
type Delivery struct {
	Account     Account
	Source      source.Tree
	Environment platform.Environment
	All         []platform.Service // in the services file
	Services    []platform.Service // to deliver
	Lock        image.Lock
	// BuildErr is the reason why images cannot be built here, or nil.
	BuildErr error
	Exec     step.Executor
	// Cache is the build cache directory: see [image.Builder].
	Cache    string
	Recorder *report.Recorder
	// Attestations are attached to what is published.
	Attestations Attestations
	// Next, if set, is called with the command to run if the process ends now.
	Next func(command string)
	// Notify, if set, is told that the release has begun.
	Notify *notify.Sender
	// Version, if set, replaces the commit id: a rehearsal delivers uncommitted
	// changes, too.
	Version string
	// Clock is the clock of releases; nil means the real one.
	Clock rollout.Clock
	// SmokeTimeout is how long failing smoke tests are retried; 0 means
	// [smoke.DefaultTimeout].
	SmokeTimeout time.Duration
	// host, if set, is the header Host of the smoke test's requests.
	host string
}

// Options are the options of a release.
type Options struct {
	// SHA is the full commit id; "" means the tree's.
	SHA string
	// Timeout and RestoreTimeout limit the rollout and the restore.
	Timeout, RestoreTimeout time.Duration
	// WaitForTurn is how long to wait for another release to end.
	WaitForTurn time.Duration
	// Force also deploys unchanged services.
	Force bool
	// NoBuild releases only images that the registry has.
	NoBuild bool
	// URL is the base URL of the smoke test; "" means the load balancer's.
	URL string
	// Of limits a rollback, or what continues or aborts a release, to the release of this
	// commit: if the last release is of another commit, nothing is rolled back.
	Of string
	// AllowNoRollback allows a release that cannot be restored, because something that
	// the running tasks need no longer exists.
	AllowNoRollback bool
	// SkipSmoke skips the smoke test.
	SkipSmoke bool
	// PauseAt is the stage at which the release waits for a person to continue or abort it,
	// one of [PauseStages]; "" for none.
	PauseAt string
	// PauseLimit is how long it waits; then ECS rolls it back. 0 means a day.
	PauseLimit time.Duration
	// CI is set if nobody watches the release: a pause then needs a limit.
	CI bool
	// Strategy replaces the type of the deployment strategies of the services file; ""
	// means as there.
	Strategy string
	// Trust, if set, is the required signer of every released image.
	Trust *supplychain.Trust
}

// MinTimeout is the shortest time limit of a release. Health checks alone take
// longer than less.
const MinTimeout = 10 * time.Second

// check validates the options.
func (o Options) check() error {
	for flag, limit := range map[string]time.Duration{"--timeout": o.Timeout, "--restore-timeout": o.RestoreTimeout} {
		if limit != 0 && limit < MinTimeout {
			return outcome.Usagef("invalid %s %s: want %s or more, such as %s", flag, limit, MinTimeout, rollout.DefaultTimeout)
		}
	}
	if o.WaitForTurn < 0 {
		return outcome.Usagef("invalid --wait-for-turn %s: want 0 or more, such as 10m", o.WaitForTurn)
	}
	return errors.Join(o.checkPause(), CheckStrategy(o.Strategy), checkURL(o.URL))
}

// checkURL validates the base URL of the smoke test. Found only after the release, an
// invalid one would fail the smoke test and restore a release that works.
func checkURL(base string) error {
	if base == "" {
		return nil
	}
	parsed, err := url.Parse(base)
	if err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != "" && parsed.RawQuery == "" && parsed.Fragment == "" {
		return nil
	}
	return outcome.Usagef("invalid --url %q: want http://HOST or https://HOST", leak.RedactValue("--url", base))
}

// Deploy releases a commit. If the registry has the commit's images, they are
// released as they are. Otherwise the tree must be clean and at that commit, and its
// images are built and published first.
func (d Delivery) Deploy(ctx context.Context, o Options) report.Release {
	sha, err := d.commit(ctx, o)
	if err != nil {
		return d.Failed(o.SHA, err)
	}
	if err := d.requireCosign(ctx, o.Trust); err != nil {
		return d.Failed(sha, err)
	}
	images, err := d.images(ctx, sha, o)
	if err != nil {
		return d.Failed(sha, err)
	}
	if err := d.requireSigned(ctx, images, o.Trust); err != nil {
		return d.Failed(sha, err)
	}
	request := d.request(sha, o)
	request.Targets = d.imageTargets(images)
	return d.release(ctx, request, o)
}

// imageTargets returns the targets that release images, by the entry's name.
func (d Delivery) imageTargets(images map[string]string) (targets []rollout.Target) {
	for _, s := range d.Services {
		targets = append(targets, rollout.ImageTarget(s, images))
	}
	return targets
}

// commit validates the options and returns the full commit id. Without --sha it is
// the tree's commit, and the tree must have no other changes.
func (d Delivery) commit(ctx context.Context, o Options) (string, error) {
	if err := o.check(); err != nil || d.Version != "" {
		return d.Version, err
	}
	if o.SHA != "" {
		return d.Source.Resolve(ctx, o.SHA)
	}
	revision, err := d.Source.Revision(ctx)
	if err != nil {
		return "", err
	}
	if revision.Dirty {
		return "", outcome.Usagef("the tree has changes that are not in commit %s (git status): commit them, or use the commit without them (--sha=%s)", revision.SHA, revision.SHA)
	}
	return revision.SHA, nil
}

func (d Delivery) request(version string, o Options) rollout.Request {
	return rollout.Request{
		Version: version, Timeout: o.Timeout, RestoreTimeout: o.RestoreTimeout,
		WaitForTurn: o.WaitForTurn, Force: o.Force,
		PauseAt: o.pauseStage(), PauseLimit: o.PauseLimit,
	}
}

// release runs a release with its checks and smoke test.
func (d Delivery) release(ctx context.Context, request rollout.Request, o Options) report.Release {
	var notes []string
	if err := setStrategy(request.Targets, o); err != nil {
		return d.Failed(request.Version, err)
	}
	found, note, err := d.endpoints(ctx, o)
	switch {
	case err == nil, o.SkipSmoke:
	case request.TakeOver: // a rollback must not depend on it
		note = "no smoke test: " + err.Error()
	default:
		return d.Failed(request.Version, fmt.Errorf("cannot look up the URL of the smoke test (set it with --url, or use --skip-smoke): %w", err))
	}
	succeeded := smoke.Succeeded{}
	shift, err := d.shiftTraffic(ctx, &request, succeeded, o)
	if err != nil {
		return d.Failed(request.Version, err)
	}
	request.Preflight = func(ctx context.Context, changes []rollout.ServiceChange) error {
		reported, err := d.preflight(ctx, changes, o.AllowNoRollback)
		notes = append(notes, reported...)
		if err == nil && !o.SkipSmoke && !request.TakeOver { // an older version need not have what a newer one has
			for url, checks := range d.checks(found, nil) {
				succeeded.Add(ctx, url, d.host, checks)
			}
		}
		return err
	}
	if !o.SkipSmoke {
		request.Verify = func(ctx context.Context, versions map[string]string) error {
			reported, err := d.smokeTest(ctx, found, succeeded, versions)
			notes = append(notes, reported...)
			return err
		}
	}
	tasks := d.releaseTasks()
	hasTask := func(target rollout.Target) bool { return target.Service.ReleaseTask != nil }
	if !request.TakeOver && slices.ContainsFunc(request.Targets, hasTask) { // a rollback runs none
		request.BeforeUpdate = tasks.Run
	}
	var release report.Release
	_ = d.Recorder.Stage("deploy", func() (report.Result, error) { // the report has the error
		engine := d.engine()
		engine.Next = d.begins(request)
		release = engine.Release(ctx, request)
		shift.report()
		return release.Result, nil
	})
	release.URL = leak.RedactValue("--url", found.first(d.All))
	tasks.AddTo(&release)
	if note != "" {
		notes = append(notes, note)
	}
	release.Notes = append(release.Notes, notes...)
	d.Recorder.Fill(&release)
	return release
}

// Failed returns the report of a delivery that ended before it released anything.
func (d Delivery) Failed(sha string, err error) report.Release {
	release := report.Release{SHA: sha}
	release.Fail(awsauth.Explain(err))
	for _, s := range d.Services {
		release.Services = append(release.Services, report.Service{Name: s.Name, Result: report.Unchanged})
	}
	d.Recorder.Fill(&release)
	return release
}

// imageEntries returns the entries whose images the services need: their own, and those
// that their sidecars run (image_of), even if those entries are not delivered themselves.
func (d Delivery) imageEntries() []platform.Service {
	wanted := map[string]bool{}
	for _, s := range d.Services {
		wanted[s.Name] = true
		for _, sidecar := range s.Sidecars {
			wanted[sidecar.ImageOf] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(d.All), func(s platform.Service) bool { return !wanted[s.Name] })
}

// Diff returns what a deploy would change. Images that the registry lacks are built
// for their digests, and not published.
func (d Delivery) Diff(ctx context.Context, o Options) (report.Diff, error) {
	sha, err := d.commit(ctx, o)
	if err != nil {
		return report.Diff{}, err
	}
	images, err := d.references(ctx, sha, o)
	if err != nil {
		return report.Diff{}, awsauth.Explain(err)
	}
	request := d.request(sha, o)
	request.Targets = d.imageTargets(images)
	if _, err := d.shiftTraffic(ctx, &request, nil, Options{SkipSmoke: true}); err != nil {
		return report.Diff{}, err
	}
	diff, err := d.engine().Diff(ctx, request)
	return diff, awsauth.Explain(err)
}

// Status returns what runs where.
func (d Delivery) Status(ctx context.Context) (report.Status, error) {
	var baseURL string
	var lookup sync.WaitGroup
	lookup.Go(func() {
		found, _, _ := d.endpoints(ctx, Options{})
		baseURL = found.first(d.All)
	})
	status, err := d.engine().Status(ctx, d.Services)
	lookup.Wait()
	status.URL = baseURL
	return status, awsauth.Explain(err)
}

// Rollback rolls back to a commit or a revision, or to the last known good release
// if to is empty.
func (d Delivery) Rollback(ctx context.Context, to string, o Options) report.Release {
	o.AllowNoRollback = true // a rollback is not restored to the version that it replaces
	request := d.request(to, o)
	request.TakeOver = true
	if o.check() == nil && to == "" && d.shifting(ctx, o.Of) {
		return d.abort(ctx, d.Services, o)
	}
	targets, err := d.rollbackTargets(ctx, to, o)
	if err != nil {
		return d.Failed(to, err)
	}
	if len(targets) == 0 {
		d.Recorder.Event("", "the last release is not of commit "+o.Of+": nothing to roll back")
		release := report.Release{SHA: o.Of, Result: report.Unchanged}
		d.Recorder.Fill(&release)
		return release
	}
	request.Targets = targets
	if rollout.IsRevision(to) {
		request.Version = "" // the commit is in the tags of the revision
	}
	return d.release(ctx, request, o)
}

// rollbackTargets returns what a rollback deploys.
func (d Delivery) rollbackTargets(ctx context.Context, to string, o Options) ([]rollout.Target, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	engine := d.engine()
	switch {
	case to == "":
		return engine.LastKnownGood(ctx, d.Services, o.Of)
	case rollout.IsRevision(to):
		target, err := rollout.RevisionTarget(to, d.Services)
		return []rollout.Target{target}, err
	}
	sha, err := d.resolveReleased(ctx, to)
	if err != nil {
		return nil, err
	}
	images, err := d.requirePublished(ctx, sha, "roll back to a commit that was released (slipway status)")
	if err != nil {
		return nil, err
	}
	return engine.ImageTargets(ctx, d.Services, images)
}

// resolveReleased returns the full id of a commit. An abbreviated one is looked up in
// the last releases first, which needs no git repository.
func (d Delivery) resolveReleased(ctx context.Context, to string) (string, error) {
	if !source.IsShortSHA(to) {
		return d.Source.Resolve(ctx, to)
	}
	found := map[string]bool{}
	status, _ := d.engine().Status(ctx, d.Services) // without it, git may know the commit
	for _, s := range status.Services {
		found[s.Version.SHA] = true
		for _, past := range s.Releases {
			found[past.Version.SHA] = true
		}
	}
	maps.DeleteFunc(found, func(sha string, _ bool) bool { return !strings.HasPrefix(sha, strings.ToLower(to)) })
	switch known := slices.Sorted(maps.Keys(found)); len(known) {
	case 0:
		return d.Source.Resolve(ctx, to)
	case 1:
		return "", outcome.Usagef("%s is short for %s: give %s", to, known[0], known[0])
	default:
		return "", outcome.Usagef("%s is short for %s: give one of them", to, strings.Join(known, " and "))
	}
}
