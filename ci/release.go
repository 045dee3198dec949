package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/release/delivery"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// Release is what came of a release.
type Release struct {
	// Result is succeeded or unchanged.
	Result string
	// Json is the report for programs.
	Json string
	// Markdown is the report for a job summary or a pull request.
	Markdown string
	// Report is the report for a terminal.
	Report string
}

// Diff is what a deploy would change.
type Diff struct {
	// Changed tells whether a deploy would change anything.
	Changed bool
	// Json is the difference for programs.
	Json string
	// Markdown is the difference for a job summary or a pull request.
	Markdown string
	// Report is the difference for a terminal.
	Report string
}

// Status is what runs where.
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
// Images that the registry holds are released as they are; otherwise the tree must be clean and at
// that commit, and they are built and published first. On any failure all services are put back to
// what ran before, and the call fails with the causes. If the call is cancelled, run rollback, or
// deploy again to carry on: the unfinished release is recognised.
//
// +cache="never"
func (m *Slipway) Deploy(
	ctx context.Context,
	// Full id of the commit; the tree's by default.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// How long the way to the new version may take before it is put back.
	//
	// +default="15m"
	timeout string,
	// Wait this long for another release to end instead of refusing, such as 30m.
	//
	// +optional
	waitForTurn string,
	// Roll out unchanged services, too.
	//
	// +optional
	force bool,
	// Release only what the registry holds.
	//
	// +optional
	noBuild bool,
	// Release although the images that run now are gone, so that a failure cannot be
	// put back.
	//
	// +optional
	allowNoRollback bool,
	// Refuse images that nobody trusted has signed (key or identity).
	//
	// +optional
	requireSignature bool,
	// Trust what this public key has signed, a PEM file.
	//
	// +optional
	key *dagger.File,
	// Trust what this identity has signed, such as
	// https://github.com/OWNER/NAME/.github/workflows/FILE@refs/heads/main.
	//
	// +optional
	identity string,
	// Trust identities whose whole name this regular expression matches.
	//
	// +optional
	identityRegexp string,
	// Who must have certified the identity.
	//
	// +default="https://token.actions.githubusercontent.com"
	issuer string,
	// What sigstore's services are known by; asks sigstore's public ones by default.
	//
	// +optional
	trustedRoot *dagger.File,
	// Sign what is published as the job of GitHub Actions whose permission to ask
	// for its identity was given. Sigstore's public log then shows the workflow's
	// name.
	//
	// +default=true
	keyless bool,
	// Address to smoke test; the load balancer's by default.
	//
	// +optional
	url string,
	// Believe ECS alone, without asking at the front door.
	//
	// +optional
	skipSmoke bool,
) (*Release, error) {
	options := delivery.Options{SHA: sha, Force: force, NoBuild: noBuild, AllowNoRollback: allowNoRollback, URL: url, SkipSmoke: skipSmoke}
	return m.drive(ctx, driving{timeout, waitForTurn}, options, func(p pipeline.Pipeline, o delivery.Options) (report.Release, error) {
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

// trusted completes t by files that the caller has; done removes its copies.
func trusted(ctx context.Context, t *supplychain.Trust, key, root *dagger.File) (done func(), err error) {
	dir, err := os.MkdirTemp("", "slipway-trust-")
	if err != nil {
		return nil, fmt.Errorf("making room for what is trusted: %w", err)
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
			return nil, fmt.Errorf("reading what is trusted: %w", err)
		}
	}
	return done, nil
}

// Rollback goes back to the last release known good, or to a named one.
//
// It takes over a release that is under way or was left half done. Run again, it goes no further.
//
// +cache="never"
func (m *Slipway) Rollback(
	ctx context.Context,
	// Full id of a commit, or a revision such as ecs-backend-task:12, to go back to.
	//
	// +optional
	to string,
	// Put back only the release of this commit: full id. Nothing happens if another
	// release was begun last.
	//
	// +optional
	of string,
	// Only these services.
	//
	// +optional
	services []string,
	// How long the way there may take.
	//
	// +default="15m"
	timeout string,
	// Address to smoke test; the load balancer's by default.
	//
	// +optional
	url string,
	// Believe ECS alone, without asking at the front door.
	//
	// +optional
	skipSmoke bool,
) (*Release, error) {
	options := delivery.Options{Of: of, URL: url, SkipSmoke: skipSmoke}
	return m.drive(ctx, driving{timeout: timeout}, options, func(p pipeline.Pipeline, o delivery.Options) (report.Release, error) {
		return p.Rollback(ctx, services, to, o)
	})
}

// Diff tells what a deploy would change, per service and field.
//
// Images that the registry lacks are built for their digests, and not published.
//
// +cache="never"
func (m *Slipway) Diff(
	ctx context.Context,
	// Full id of the commit; the tree's by default.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
) (*Diff, error) {
	found, r, err := on(ctx, m, func(p pipeline.Pipeline) (report.Diff, error) {
		return p.Diff(ctx, services, delivery.Options{SHA: sha})
	})
	return &Diff{Changed: found.Changed, Json: r.json, Markdown: r.markdown, Report: r.text}, err
}

// Status tells what runs where: commit, digest, revision, since when, health, last releases.
//
// +cache="never"
func (m *Slipway) Status(
	ctx context.Context,
	// Only these services.
	//
	// +optional
	services []string,
) (*Status, error) {
	_, r, err := on(ctx, m, func(p pipeline.Pipeline) (report.Status, error) { return p.Status(ctx, services, nil) })
	return &Status{Json: r.json, Markdown: r.markdown, Report: r.text}, err
}

// driving are the time limits of a release as they are given.
type driving struct{ timeout, waitForTurn string }

func (g driving) set(o *delivery.Options) error {
	return errors.Join(parseLimit("timeout", g.timeout, &o.Timeout), parseLimit("wait-for-turn", g.waitForTurn, &o.WaitForTurn))
}

// parseLimit reads a duration such as 15m into limit; nothing given leaves it.
func parseLimit(name, given string, limit *time.Duration) error {
	if given == "" {
		return nil
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		return outcome.Usagef("--%s %q is no duration: give one such as 15m or 90s", name, given)
	}
	*limit = d
	return nil
}

// drive makes a release. One that did not succeed is an error whose text is the
// report.
func (m *Slipway) drive(ctx context.Context, limits driving, o delivery.Options, run func(pipeline.Pipeline, delivery.Options) (report.Release, error)) (*Release, error) {
	if err := limits.set(&o); err != nil {
		return nil, err
	}
	release, r, err := on(ctx, m, func(p pipeline.Pipeline) (report.Release, error) { return run(p, o) })
	if err != nil {
		return nil, err
	}
	return newRelease(release, r)
}

// rendered is a document for programs, for pages and for terminals.
type rendered struct{ json, markdown, text string }

func render(d report.Document) (rendered, error) {
	var text, markdown, document strings.Builder
	err := errors.Join(d.Text(&text), d.Markdown(&markdown), d.JSON(&document))
	return rendered{document.String(), markdown.String(), text.String()}, err
}

// on runs a stage on the source tree, and renders what it returns.
func on[D report.Document](ctx context.Context, m *Slipway, run func(pipeline.Pipeline) (D, error)) (found D, r rendered, err error) {
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

// newRelease returns a report. A release that did not succeed is an error whose text
// is the report.
func newRelease(release report.Release, r rendered) (*Release, error) {
	if release.ExitCode != 0 {
		return nil, errors.New(r.text)
	}
	return &Release{Result: string(release.Result), Json: r.json, Markdown: r.markdown, Report: r.text}, nil
}
