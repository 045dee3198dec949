package delivery

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/release/rollout"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// Delivery is one delivery to an account.
type Delivery struct {
	Account  Account
	Source   source.Tree
	All      []platform.Service // of the platform
	Services []platform.Service // those that are delivered
	Lock     image.Lock
	// Unbuildable is why images cannot be built here; nil where they can.
	Unbuildable error
	Exec        step.Executor
	// Cache is where builds keep what they made: see [image.Builder].
	Cache    string
	Recorder *report.Recorder
	// Attestations are attached to what is published.
	Attestations Attestations
	// Next, if set, is told what a human has to run should the process end now.
	Next func(command string)
	// Version, if set, names what is delivered where that is of no commit: a
	// rehearsal's tree may hold more than its commit.
	Version string
	// Clock is what releases go by; nil is the computer's.
	Clock rollout.Clock
	// Patience is how long the smoke test bears wrong answers; 0 means
	// [smoke.DefaultPatience].
	Patience time.Duration
}

// Options say how a release is to be.
type Options struct {
	// SHA is the full id of the commit; empty means the tree's.
	SHA string
	// Timeout and RestoreTimeout bound the way to the new version and back.
	Timeout, RestoreTimeout time.Duration
	// WaitForTurn is how long another release is waited for.
	WaitForTurn time.Duration
	// Force rolls out unchanged services, too.
	Force bool
	// NoBuild releases only what the registry holds.
	NoBuild bool
	// URL is where the smoke test asks; empty means the load balancer's own.
	URL string
	// Of limits a rollback to the release of this commit: if another one was begun
	// last, nothing is put back.
	Of string
	// AllowNoRollback releases although the images that run now are gone, so that
	// nothing could be put back.
	AllowNoRollback bool
	// SkipSmoke leaves the smoke test out.
	SkipSmoke bool
	// Trust, if set, must have signed every image that is released.
	Trust *supplychain.Trust
}

// MinTimeout is the least time limit of a release: health checks alone take
// longer than anything below it.
const MinTimeout = 10 * time.Second

// check refuses options that cannot be meant.
func (o Options) check() error {
	for flag, limit := range map[string]time.Duration{"--timeout": o.Timeout, "--restore-timeout": o.RestoreTimeout} {
		if limit != 0 && limit < MinTimeout {
			return outcome.Usagef("%s %s is too small for any release: take %s or more, such as %s", flag, limit, MinTimeout, rollout.DefaultTimeout)
		}
	}
	if o.WaitForTurn < 0 {
		return outcome.Usagef("--wait-for-turn %s: take a time above 0, such as 10m", o.WaitForTurn)
	}
	return checkURL(o.URL)
}

// checkURL refuses an address that no smoke test could pass at: found after the
// release, it would be taken for the release's fault, and put that back.
func checkURL(site string) error {
	if site == "" {
		return nil
	}
	parsed, err := url.Parse(site)
	if err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != "" && parsed.RawQuery == "" && parsed.Fragment == "" {
		return nil
	}
	return outcome.Usagef("--url %q is no address of a site: write it as https://www.example.com", withoutPassword(site))
}

// withoutPassword is an address as it may be shown.
func withoutPassword(address string) string {
	parsed, err := url.Parse(address)
	if err != nil || parsed.User == nil {
		return address
	}
	return parsed.Redacted()
}

// Deploy releases a commit. Images that the registry holds under it are released
// as they are; otherwise the tree must be clean and at that commit, and its
// images are built and published first.
func (d Delivery) Deploy(ctx context.Context, o Options) report.Release {
	sha, err := d.version(ctx, o)
	if err != nil {
		return d.Failed(o.SHA, err)
	}
	if err := d.canVerify(ctx, o.Trust); err != nil {
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
	for _, s := range d.Services {
		request.Targets = append(request.Targets, rollout.Target{Service: s, Image: images[s.Name]})
	}
	return d.release(ctx, request, o)
}

// version checks the options and finds the full id of the commit. A commit that
// nobody named is meant with what the tree holds, so that must be the same.
func (d Delivery) version(ctx context.Context, o Options) (string, error) {
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
		return "", outcome.Usagef("the tree holds more than its commit %s (git status): commit first, or say with --sha=%s that the commit alone is meant", revision.SHA, revision.SHA)
	}
	return revision.SHA, nil
}

func (d Delivery) request(version string, o Options) rollout.Request {
	return rollout.Request{
		Cluster: platform.Cluster, Version: version, Timeout: o.Timeout, RestoreTimeout: o.RestoreTimeout,
		WaitForTurn: o.WaitForTurn, Force: o.Force,
	}
}

// release releases and smoke tests, and reports.
func (d Delivery) release(ctx context.Context, request rollout.Request, o Options) report.Release {
	var notes []string
	door, note, err := d.frontDoor(ctx, o)
	switch {
	case err == nil, o.SkipSmoke:
	case request.TakeOver: // going back must not depend on it
		note = "no smoke test: " + err.Error()
	default:
		return d.Failed(request.Version, fmt.Errorf("the smoke test has no address (--url names one, --skip-smoke goes without): %w", err))
	}
	request.Preflight = func(ctx context.Context, subjects []rollout.Subject) error {
		remarks, err := d.preflight(ctx, subjects, o.AllowNoRollback)
		notes = append(notes, remarks...)
		return err
	}
	if door != "" && !o.SkipSmoke {
		request.Verify = func(ctx context.Context, versions map[string]string) error {
			remarks, err := d.smoke(ctx, door, versions)
			notes = append(notes, remarks...)
			return err
		}
	}
	var release report.Release
	_ = d.Recorder.Stage("deploy", func() (report.Result, error) { // the report has the error
		engine := d.engine()
		engine.Next = d.Next
		release = engine.Release(ctx, request)
		return release.Result, nil
	})
	release.URL = withoutPassword(door)
	if note != "" {
		notes = append(notes, note)
	}
	release.Notes = append(release.Notes, notes...)
	d.Recorder.Fill(&release)
	return release
}

// Failed is the report of a delivery that ended before any release.
func (d Delivery) Failed(sha string, err error) report.Release {
	release := report.Release{SHA: sha}
	release.Fail(awsauth.Explain(err))
	for _, s := range d.Services {
		release.Services = append(release.Services, report.Service{Name: s.Name, Result: report.Unchanged})
	}
	d.Recorder.Fill(&release)
	return release
}

// Diff tells what a deploy would change. Images that the registry does not hold
// are built for their digests, and not published.
func (d Delivery) Diff(ctx context.Context, o Options) (report.Diff, error) {
	sha, err := d.version(ctx, o)
	if err != nil {
		return report.Diff{}, err
	}
	images, err := d.digests(ctx, sha, o)
	if err != nil {
		return report.Diff{}, awsauth.Explain(err)
	}
	request := d.request(sha, o)
	for _, s := range d.Services {
		request.Targets = append(request.Targets, rollout.Target{Service: s, Image: images[s.Name]})
	}
	diff, err := d.engine().Diff(ctx, request)
	return diff, awsauth.Explain(err)
}

// Status tells what runs where.
func (d Delivery) Status(ctx context.Context) (report.Status, error) {
	var door string
	var asked sync.WaitGroup
	asked.Go(func() { door, _, _ = d.frontDoor(ctx, Options{}) })
	status, err := d.engine().Status(ctx, platform.Cluster, d.Services)
	asked.Wait()
	status.URL = door
	return status, awsauth.Explain(err)
}

// Rollback goes back to a commit or a revision; to the last release known good
// if to is empty.
func (d Delivery) Rollback(ctx context.Context, to string, o Options) report.Release {
	o.AllowNoRollback = true // what it leaves is not what anybody wants back
	request := d.request(to, o)
	request.TakeOver = true
	targets, err := d.goal(ctx, to, o)
	if err != nil {
		return d.Failed(to, err)
	}
	if len(targets) == 0 {
		d.Recorder.Event("", "the last release is not of "+o.Of+": nothing is put back")
		release := report.Release{SHA: o.Of, Result: report.Unchanged}
		d.Recorder.Fill(&release)
		return release
	}
	request.Targets = targets
	if rollout.IsRevision(to) {
		request.Version = "" // its tags tell the commit
	}
	return d.release(ctx, request, o)
}

// goal finds what a rollback shall run.
func (d Delivery) goal(ctx context.Context, to string, o Options) ([]rollout.Target, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	engine := d.engine()
	switch {
	case to == "":
		return engine.LastGood(ctx, platform.Cluster, d.Services, o.Of)
	case rollout.IsRevision(to):
		target, err := rollout.ToRevision(to, d.Services)
		return []rollout.Target{target}, err
	}
	sha, err := d.released(ctx, to)
	if err != nil {
		return nil, err
	}
	images, err := d.published(ctx, sha, "a rollback goes only where a release has been")
	if err != nil {
		return nil, err
	}
	return engine.ToImages(ctx, platform.Cluster, d.Services, images)
}

// released is the full id of a commit. One that is given in short is looked for
// among the last releases first: they are known where git is not.
func (d Delivery) released(ctx context.Context, to string) (string, error) {
	if !source.IsShortSHA(to) {
		return d.Source.Resolve(ctx, to)
	}
	found := map[string]bool{}
	status, _ := d.engine().Status(ctx, platform.Cluster, d.Services) // what it cannot tell git may
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
