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
	"dagger/slipway/internal/delivery"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/supplychain"
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
	// Sign what is published as the job of GitHub Actions whose permission to ask
	// for its identity was given. Sigstore's public log then shows the workflow's
	// name.
	//
	// +default=true
	keyless bool,
	// Refuse images that this identity has not signed, before anything is changed:
	// https://github.com/OWNER/NAME/.github/workflows/FILE@refs/heads/main.
	//
	// +optional
	signedBy string,
	// Refuse images that the private half of this public key has not signed, before
	// anything is changed: a PEM file.
	//
	// +optional
	signedByKey *dagger.File,
	// Address to smoke test; the load balancer's by default.
	//
	// +optional
	url string,
	// Believe ECS alone, without asking at the front door.
	//
	// +optional
	skipSmoke bool,
) (*Release, error) {
	options := delivery.Options{SHA: sha, Force: force, NoBuild: noBuild, URL: url, SkipSmoke: skipSmoke}
	return m.drive(ctx, services, driving{timeout, waitForTurn}, options, func(d delivery.Delivery, o delivery.Options) report.Release {
		trust, done, err := trusted(ctx, signedBy, signedByKey)
		if err != nil {
			return d.Failed(sha, err)
		}
		defer done()
		o.Trust = trust
		if d.Attestations, err = m.Account.attestations(ctx, keyless); err != nil {
			return d.Failed(sha, err)
		}
		return d.Deploy(ctx, o)
	})
}

// trusted says whose signature is required: nobody's where nobody is named.
func trusted(ctx context.Context, identity string, key *dagger.File) (*supplychain.Trust, func(), error) {
	trust := &supplychain.Trust{Identity: identity}
	if key == nil {
		if identity == "" {
			trust = nil
		}
		return trust, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "slipway-trust-")
	if err != nil {
		return nil, nil, fmt.Errorf("making room for the public key: %w", err)
	}
	done := func() { _ = os.RemoveAll(dir) }
	trust.Key = filepath.Join(dir, "cosign.pub")
	if _, err := key.Export(ctx, trust.Key); err != nil {
		done()
		return nil, nil, fmt.Errorf("reading the public key: %w", err)
	}
	return trust, done, nil
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
	return m.drive(ctx, services, driving{timeout: timeout}, options, func(d delivery.Delivery, o delivery.Options) report.Release {
		return d.Rollback(ctx, to, o)
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
	d, done, err := m.delivery(ctx, services)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := d.Diff(ctx, delivery.Options{SHA: sha})
	if err != nil {
		return nil, err
	}
	r, err := render(found)
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
	d, done, err := m.delivery(ctx, services)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := d.Status(ctx)
	if err != nil {
		return nil, err
	}
	r, err := render(found)
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
func (m *Slipway) drive(ctx context.Context, services []string, limits driving, o delivery.Options, run func(delivery.Delivery, delivery.Options) report.Release) (*Release, error) {
	if err := limits.set(&o); err != nil {
		return nil, err
	}
	d, done, err := m.delivery(ctx, services)
	if err != nil {
		return nil, err
	}
	defer done()
	return newRelease(run(d, o))
}

// delivery opens the tree and the account. What happens is told in the trace.
func (m *Slipway) delivery(ctx context.Context, services []string) (delivery.Delivery, func(), error) {
	w, err := m.open(ctx)
	if err != nil {
		return delivery.Delivery{}, nil, err
	}
	selected, err := w.platform.Select(services...)
	if err != nil {
		w.close()
		return delivery.Delivery{}, nil, err
	}
	account, err := m.Account.connect(ctx)
	if err != nil {
		w.close()
		return delivery.Delivery{}, nil, err
	}
	return delivery.Delivery{
		Account: account.Account, Source: w.tree, All: w.platform.Services, Services: selected, Lock: w.lock,
		Exec: newContainers(m.Source), Recorder: report.NewRecorder(time.Now, report.Plain{W: os.Stderr}),
	}, func() { account.close(); w.close() }, nil
}

// rendered is a document for programs, for pages and for terminals.
type rendered struct{ json, markdown, text string }

func render(d report.Document) (rendered, error) {
	var text, markdown, document strings.Builder
	err := errors.Join(d.Text(&text), d.Markdown(&markdown), d.JSON(&document))
	return rendered{document.String(), markdown.String(), text.String()}, err
}

// newRelease renders a report. A release that did not succeed is an error
// whose text is the report.
func newRelease(release report.Release) (*Release, error) {
	r, err := render(release)
	if err != nil {
		return nil, err
	}
	if release.ExitCode != 0 {
		return nil, errors.New(r.text)
	}
	return &Release{Result: string(release.Result), Json: r.json, Markdown: r.markdown, Report: r.text}, nil
}
