package main

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Promote releases in one environment what another one runs, digest for digest.
//
// It never builds. Before it copies anything, it checks that the source runs one commit completely,
// that the images have a trusted signature, and that they have no known vulnerability of the severity
// fail-on or higher. It copies what the registry of the target lacks, with signatures, SBOM and
// provenance. The release is that of deploy.
//
// +cache="never"
func (m *Slipway) Promote(
	ctx context.Context,
	// Environment to release in.
	to string,
	// Environment whose release is promoted. Default: promote_from of the target.
	//
	// +optional
	from string,
	// Full id of the commit. Default: the one that the source runs.
	//
	// +optional
	sha string,
	// How long the source must have run the commit, such as 30m.
	//
	// +optional
	soak string,
	// Only these services.
	//
	// +optional
	services []string,
	// AWS credentials for the source, as --aws-credentials. Default: those of the target.
	//
	// +optional
	fromCredentials *dagger.Secret,
	// ARN of the role to assume for the source with the identity of the GitHub Actions
	// job.
	//
	// +optional
	fromRole string,
	// Emulator to use for the source instead of AWS.
	//
	// +optional
	fromAws *dagger.Service,
	// Promote images without a trusted signature.
	//
	// +optional
	allowUnsigned bool,
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
	// Lowest severity that refuses the promotion: critical, high, medium, low or none (no
	// scan).
	//
	// +default="high"
	failOn string,
	// Maximum duration of the rollout; then the previous version is restored.
	//
	// +default="15m"
	timeout string,
	// Wait this long, such as 30m, for another release to end. Default: refuse at once.
	//
	// +optional
	waitForTurn string,
	// Release even if the running images are gone, so that a failed release could not
	// be restored.
	//
	// +optional
	allowNoRollback bool,
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
	// Return the report even if the promotion fails; see exit_code in its reports.
	//
	// +optional
	tolerate bool,
) (*Release, error) {
	if m.Environment != "" && m.Environment != to {
		return nil, outcome.Usagef("--environment %s and --to %s exclude each other: leave out --environment", m.Environment, to)
	}
	m.Environment = to
	o := pipeline.PromoteOptions{From: from, To: to, Services: services, FailOn: failOn}
	if err := parseLimit("soak", soak, &o.Soak); err != nil {
		return nil, err
	}
	options := delivery.Options{SHA: sha, AllowNoRollback: allowNoRollback, URL: url, SkipSmoke: skipSmoke, PauseAt: pauseAt, Strategy: strategy}
	return m.release(ctx, limits{timeout: timeout, waitForTurn: waitForTurn, pauseLimit: pauseLimit, tolerate: tolerate}, options, func(p pipeline.Pipeline, options delivery.Options) (report.Release, error) {
		trust := supplychain.Trust{Identity: identity, Pattern: identityRegexp, Issuer: issuer}
		done, err := trusted(ctx, &trust, key, trustedRoot)
		if err != nil {
			return report.Release{}, err
		}
		defer done()
		o.Options = options
		if o.Trust, err = trust.ForPromotion(allowUnsigned); err != nil {
			return report.Release{}, err
		}
		defer m.otherAccount(&p, fromCredentials, fromRole, fromAws)()
		return p.Promote(ctx, o)
	})
}

// otherAccount sets how the pipeline opens the account of the other environment; stop
// releases what it uses. Without any setting it has the same credentials.
func (m *Slipway) otherAccount(p *pipeline.Pipeline, credentials *dagger.Secret, role string, emulator *dagger.Service) (stop func()) {
	end := func() {}
	if credentials != nil || role != "" || emulator != nil {
		other := Account{Credentials: credentials, Role: role, TokenURL: m.Account.TokenURL, Token: m.Account.Token, Run: m.Account.Run, Emulator: emulator}
		p.OtherAWS = func(ctx context.Context) (options awsauth.Options, err error) {
			options, stop, err := other.options(ctx)
			if err == nil {
				end = stop
			}
			return options, err
		}
	}
	return func() { end() }
}
