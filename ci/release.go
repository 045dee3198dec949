package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Release is the result of a release.
type Release struct {
	// Result is succeeded, unchanged or paused; with tolerate, also restored, failed, refused
	// or interrupted.
	Result string
	// Json is the report for programs.
	Json string
	// Markdown is the report for a job summary or a pull request.
	Markdown string
	// Report is the report for a terminal.
	Report string
	// Reports has summary.md, log (the report for a terminal), release.json, exit_code and
	// outputs (result=…, for GITHUB_OUTPUT).
	Reports *dagger.Directory
}

// Diff is the difference between a commit and the running services.
type Diff struct {
	// Changed reports whether a deploy would change anything.
	Changed bool
	// Json is the difference for programs.
	Json string
	// Markdown is the difference for a job summary or a pull request.
	Markdown string
	// Report is the difference for a terminal.
	Report string
}

// Status is the state of the running services.
type Status struct {
	// Json is the status for programs.
	Json string
	// Markdown is the status for a job summary.
	Markdown string
	// Report is the status for a terminal.
	Report string
}

// Deploy releases a commit to ECS, all services or none.
//
// It releases the images of the commit that the registry has. It builds and publishes missing ones
// first; then the tree must be clean and at that commit. If anything fails, it restores the previous
// version of all services, and the call fails with the causes. If the call is cancelled, run rollback
// to restore, or deploy again to continue the release.
//
// Services whose entry has a strategy shift traffic together. With pause-at the release waits at a
// stage, and continue or abort decides.
//
// +cache="never"
func (m *Slipway) Deploy(
	ctx context.Context,
	// Full id of the commit. Default: the commit of the tree.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// Maximum duration of the rollout; then the previous version is restored.
	//
	// +default="15m"
	timeout string,
	// Wait this long, such as 30m, for another release to end. Default: refuse at once.
	//
	// +optional
	waitForTurn string,
	// Roll out unchanged services too.
	//
	// +optional
	force bool,
	// Release only images that the registry has; build none.
	//
	// +optional
	noBuild bool,
	// Release even if the running images are gone, so that a failed release could not
	// be restored.
	//
	// +optional
	allowNoRollback bool,
	// Refuse images without a trusted signature (key or identity).
	//
	// +optional
	requireSignature bool,
	// Trust signatures by this public key, a PEM file.
	//
	// +optional
	key *dagger.File,
	// Trust signatures by this identity, such as
	// https://github.com/OWNER/REPO/.github/workflows/FILE@refs/heads/main.
	//
	// +optional
	identity string,
	// Trust signatures by identities whose whole name matches this regular expression.
	//
	// +optional
	identityRegexp string,
	// Issuer that must have certified the identity.
	//
	// +default="https://token.actions.githubusercontent.com"
	issuer string,
	// Sigstore's trusted root. Default: the one of Sigstore's public services.
	//
	// +optional
	trustedRoot *dagger.File,
	// Sign published images with the identity of the GitHub Actions job, if its token
	// was given. Sigstore's public log then shows the workflow's name.
	//
	// +default=true
	keyless bool,
	// Base URL of the smoke test. Default: the load balancer.
	//
	// +optional
	url string,
	// Skip the smoke test; rely on ECS alone.
	//
	// +optional
	skipSmoke bool,
	// Stage at which the release waits for continue or abort: post-test-traffic-shift,
	// pre-production-traffic-shift or post-production-traffic-shift. The call ends then, with the
	// result paused.
	//
	// +optional
	pauseAt string,
	// How long the release waits, 1m to 336h; then ECS rolls it back. Default: 24h; required with
	// --github-run.
	//
	// +optional
	pauseLimit string,
	// Strategy of this release for the services that shift traffic: rolling, blue_green, canary or
	// linear. Default: as in the services file.
	//
	// +optional
	strategy string,
	// Return the report even if the release fails; see exit_code in its reports.
	//
	// +optional
	tolerate bool,
) (*Release, error) {
	options := delivery.Options{SHA: sha, Force: force, NoBuild: noBuild, AllowNoRollback: allowNoRollback, URL: url, SkipSmoke: skipSmoke, PauseAt: pauseAt, Strategy: strategy}
	return m.release(ctx, limits{timeout: timeout, waitForTurn: waitForTurn, pauseLimit: pauseLimit, tolerate: tolerate}, options, func(p pipeline.Pipeline, o delivery.Options) (report.Release, error) {
		trust := supplychain.Trust{Identity: identity, Pattern: identityRegexp, Issuer: issuer}
		done, err := trusted(ctx, &trust, key, trustedRoot)
		if err != nil {
			return report.Release{}, err
		}
		defer done()
		if o.Trust, err = trust.Required(requireSignature); err != nil {
			return report.Release{}, err
		}
		if p.Attestations, err = m.Account.attestations(ctx, keyless); err != nil {
			return report.Release{}, err
		}
		return p.Deploy(ctx, services, o)
	})
}

// trusted adds the caller's files to t; done removes the copies.
func trusted(ctx context.Context, t *supplychain.Trust, key, root *dagger.File) (done func(), err error) {
	dir, err := os.MkdirTemp("", "slipway-trust-")
	if err != nil {
		return nil, fmt.Errorf("creating the directory of trusted keys: %w", err)
	}
	done = func() { _ = os.RemoveAll(dir) }
	for _, given := range []struct {
		file *dagger.File
		path *string
		name string
	}{{key, &t.Key, "key.pem"}, {root, &t.TrustedRoot, "trusted-root.json"}} {
		if given.file == nil {
			continue
		}
		*given.path = filepath.Join(dir, given.name)
		if _, err := given.file.Export(ctx, *given.path); err != nil {
			done()
			return nil, fmt.Errorf("reading the trusted keys: %w", err)
		}
	}
	return done, nil
}

// Rollback goes back to the last known good release, or to a named one.
//
// It takes over a release that is running or unfinished, unless it runs its release task. Running it again does not go back further.
//
// +cache="never"
func (m *Slipway) Rollback(
	ctx context.Context,
	// Target: full id of a commit, or a revision such as ecs-backend-task:12.
	//
	// +optional
	to string,
	// Roll back only if the last release is of this commit (full id); otherwise do
	// nothing.
	//
	// +optional
	of string,
	// Only these services.
	//
	// +optional
	services []string,
	// Maximum duration of the rollback.
	//
	// +default="15m"
	timeout string,
	// Wait this long, such as 30m, for another deployment to end. Default: refuse at once.
	//
	// +optional
	waitForTurn string,
	// Base URL of the smoke test. Default: the load balancer.
	//
	// +optional
	url string,
	// Skip the smoke test; rely on ECS alone.
	//
	// +optional
	skipSmoke bool,
	// Strategy of this release for the services that shift traffic: rolling, blue_green, canary or
	// linear. Default: blue_green without a bake.
	//
	// +optional
	strategy string,
	// Return the report even if the release fails; see exit_code in its reports.
	//
	// +optional
	tolerate bool,
) (*Release, error) {
	options := delivery.Options{Of: of, URL: url, SkipSmoke: skipSmoke, Strategy: strategy}
	return m.release(ctx, limits{timeout: timeout, waitForTurn: waitForTurn, tolerate: tolerate}, options, func(p pipeline.Pipeline, o delivery.Options) (report.Release, error) {
		return p.Rollback(ctx, services, to, o)
	})
}

// Continue continues a paused release past the stage where it waits.
//
// It finds the release in AWS, whoever started it. The call fails if no release is paused, or if it is
// not that of the commit of. Like deploy, it restores the previous version if anything fails.
//
// +cache="never"
func (m *Slipway) Continue(
	ctx context.Context,
	// Full id of a commit: continue only its release.
	//
	// +optional
	of string,
	// Later stage at which the release waits again: pre-production-traffic-shift or
	// post-production-traffic-shift.
	//
	// +optional
	pauseAt string,
	// How long the release waits there, 1m to 336h; then ECS rolls it back. Default: 24h; required
	// with --github-run.
	//
	// +optional
	pauseLimit string,
	// Maximum duration of the rest of the rollout; then the previous version is restored.
	//
	// +default="15m"
	timeout string,
	// Base URL of the smoke test. Default: the load balancer.
	//
	// +optional
	url string,
	// Skip the smoke test; rely on ECS alone.
	//
	// +optional
	skipSmoke bool,
	// Return the report even if the release fails; see exit_code in its reports.
	//
	// +optional
	tolerate bool,
) (*Release, error) {
	options := delivery.Options{Of: of, PauseAt: pauseAt, URL: url, SkipSmoke: skipSmoke}
	return m.release(ctx, limits{timeout: timeout, pauseLimit: pauseLimit, tolerate: tolerate}, options, func(p pipeline.Pipeline, o delivery.Options) (report.Release, error) {
		return p.Continue(ctx, o)
	})
}

// Abort restores the previous version of all services of an unfinished release.
//
// The release may be paused, in progress, or left unfinished by a call that was killed. The call fails
// if no release is unfinished, or if it is not that of the commit of.
//
// +cache="never"
func (m *Slipway) Abort(
	ctx context.Context,
	// Full id of a commit: abort only its release.
	//
	// +optional
	of string,
	// Maximum duration of the restore; then the call fails.
	//
	// +default="10m"
	restoreTimeout string,
	// Return the report even if the abort fails; see exit_code in its reports.
	//
	// +optional
	tolerate bool,
) (*Release, error) {
	return m.release(ctx, limits{restoreTimeout: restoreTimeout, tolerate: tolerate}, delivery.Options{Of: of}, func(p pipeline.Pipeline, o delivery.Options) (report.Release, error) {
		return p.Abort(ctx, o)
	})
}

// Diff shows what a deploy would change, per service and field.
//
// It builds images that the registry lacks to compute their digests, and does not publish them. With
// another environment, it shows how what that runs differs.
//
// +cache="never"
func (m *Slipway) Diff(
	ctx context.Context,
	// Full id of the commit. Default: the commit of the tree.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// Environment to compare with, instead of a commit.
	//
	// +optional
	with string,
	// AWS credentials for that environment, as --aws-credentials. Default: the same.
	//
	// +optional
	withCredentials *dagger.Secret,
	// ARN of the role to assume for that environment with the identity of the GitHub
	// Actions job.
	//
	// +optional
	withRole string,
	// Emulator to use for that environment instead of AWS.
	//
	// +optional
	withAws *dagger.Service,
) (*Diff, error) {
	found, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (report.Diff, error) {
		if with != "" {
			defer m.otherAccount(&p, withCredentials, withRole, withAws)()
			return p.DiffRunning(ctx, services, with)
		}
		return p.Diff(ctx, services, delivery.Options{SHA: sha})
	})
	return &Diff{Changed: found.Changed, Json: r.json, Markdown: r.markdown, Report: r.text}, err
}

// Status shows what runs: commit, digest, revision, age, health and last releases.
//
// +cache="never"
func (m *Slipway) Status(
	ctx context.Context,
	// Only these services.
	//
	// +optional
	services []string,
	// Environment to show beside this one.
	//
	// +optional
	with string,
	// AWS credentials for that environment, as --aws-credentials. Default: the same.
	//
	// +optional
	withCredentials *dagger.Secret,
	// ARN of the role to assume for that environment with the identity of the GitHub
	// Actions job.
	//
	// +optional
	withRole string,
	// Emulator to use for that environment instead of AWS.
	//
	// +optional
	withAws *dagger.Service,
	// Also show deployment frequency, lead time, change failure rate and time to restore of
	// the last 90 days.
	//
	// +optional
	figures bool,
) (*Status, error) {
	_, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (report.Status, error) {
		defer m.otherAccount(&p, withCredentials, withRole, withAws)()
		return p.Status(ctx, pipeline.StatusOptions{Services: services, With: with, Figures: figures})
	})
	return &Status{Json: r.json, Markdown: r.markdown, Report: r.text}, err
}

// limits are the time limits of a release, unparsed, and whether it may fail.
type limits struct {
	timeout, restoreTimeout, waitForTurn, pauseLimit string
	tolerate                                         bool
}

func (l limits) set(o *delivery.Options) error {
	return errors.Join(parseLimit("timeout", l.timeout, &o.Timeout), parseLimit("restore-timeout", l.restoreTimeout, &o.RestoreTimeout), parseLimit("wait-for-turn", l.waitForTurn, &o.WaitForTurn), parseLimit("pause-limit", l.pauseLimit, &o.PauseLimit))
}

// parseLimit parses a duration such as 15m into limit; "" leaves it unchanged.
func parseLimit(name, given string, limit *time.Duration) error {
	if given == "" {
		return nil
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		return outcome.Usagef("invalid --%s %q: want a duration such as 15m or 90s", name, given)
	}
	*limit = d
	return nil
}

// release runs a stage that releases. It returns an error with the report if that did
// not succeed, unless this is tolerated.
func (m *Slipway) release(ctx context.Context, within limits, o delivery.Options, run func(pipeline.Pipeline, delivery.Options) (report.Release, error)) (*Release, error) {
	if err := within.set(&o); err != nil {
		return nil, err
	}
	release, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (_ report.Release, err error) {
		if p.Notify, err = m.Notifications.settings(ctx); err != nil {
			return report.Release{}, err
		}
		return run(p, o)
	})
	if err != nil && within.tolerate && ctx.Err() == nil {
		release.Fail(err)
		r, err = render(release)
	}
	if err != nil {
		return nil, err
	}
	return newRelease(release, r, within.tolerate)
}

// rendered is a document as JSON, as Markdown and as text for a terminal.
type rendered struct{ json, markdown, text string }

func render(d report.Document) (rendered, error) {
	var text, markdown, document strings.Builder
	err := errors.Join(d.Text(&text), d.Markdown(&markdown), d.JSON(&document))
	return rendered{document.String(), markdown.String(), text.String()}, err
}

// runStage runs a stage on the source tree and renders its document.
func runStage[D report.Document](ctx context.Context, m *Slipway, run func(pipeline.Pipeline) (D, error)) (found D, r rendered, err error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return found, r, err
	}
	defer done()
	if found, err = run(p); err == nil {
		r, err = render(found)
	}
	return found, r, err
}

// newRelease converts a report. It returns an error with the report if the release did
// not succeed, unless this is tolerated.
func newRelease(release report.Release, r rendered, tolerate bool) (*Release, error) {
	if release.ExitCode != outcome.Done && !tolerate {
		return nil, errors.New(r.text)
	}
	reports := dag.Directory().
		WithNewFile("summary.md", r.markdown).
		WithNewFile("log", r.text).
		WithNewFile("release.json", r.json).
		WithNewFile("outputs", fmt.Sprintf("result=%s\n", release.Result)).
		WithNewFile("exit_code", fmt.Sprintln(int(release.ExitCode)))
	return &Release{Result: string(release.Result), Json: r.json, Markdown: r.markdown, Report: r.text, Reports: reports}, nil
}
