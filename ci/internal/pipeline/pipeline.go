// Package pipeline combines the stages: it opens the source tree, its settings and the AWS
// account, and has a method for each stage, which returns a document. The CLI and the
// Dagger module parse arguments and print.
package pipeline

import (
	"cmp"
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/release/notify"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

// Pipeline runs stages on a source tree.
type Pipeline struct {
	// Dir is the root of the source tree.
	Dir string
	// Exec returns an executor that runs tools in containers with an environment; nil
	// runs the tools of this machine.
	Exec func(environment map[string]string) step.Executor
	// Netrc is a file with the logins for private Go modules, for tools of this machine; ""
	// means $NETRC or ~/.netrc, as for the go command.
	Netrc string
	// Log receives Terraform's output while it runs on this machine.
	Log io.Writer
	// Cache is the directory of the build cache; see [image.Builder].
	Cache string
	// Environment is the name of the environment, for the stages that use the account;
	// empty means the only one of the tree.
	Environment string
	// CI is set if nobody watches the stage.
	CI bool
	// AWS returns how to open the account, for the stages that need one.
	AWS func(context.Context) (awsauth.Options, error)
	// OtherAWS returns how to open the account of the other environment of a promotion or
	// comparison; nil means as AWS does.
	OtherAWS func(context.Context) (awsauth.Options, error)
	// Notify is where to send notifications of releases.
	Notify notify.Settings
	// Versions finds the release that files name; the zero value means that of this build.
	Versions version.Resolver
	// Recorder records progress.
	Recorder *report.Recorder
	// Clock is the clock of releases; nil means the real one.
	Clock rollout.Clock
	// Next, if set, is called with the command that recovers production if the process
	// ends now, and with "" if none is needed.
	Next func(command string)
	// Attestations are attached to published images.
	Attestations delivery.Attestations
}

// tree is a source tree with its settings.
type tree struct {
	source.Tree
	platform platform.Platform
	lock     image.Lock
}

// open opens the source tree and reads its settings.
func (p Pipeline) open(ctx context.Context) (t tree, err error) {
	if t.Tree, err = source.Open(ctx, p.Dir); err != nil {
		return t, err
	}
	if t.platform, err = platform.LoadTree(ctx, t.Tree); err != nil {
		return t, err
	}
	t.lock, err = image.ReadLock(t.Dir)
	return t, err
}

// exec returns the executor for a source tree.
func (p Pipeline) exec(t source.Tree, environment map[string]string) step.Executor {
	if p.Exec == nil {
		return step.Host{Source: t.Dir, Env: p.hostEnvironment(environment)}
	}
	return p.Exec(environment)
}

// awsOptions returns how to open the account of an environment.
func (p Pipeline) awsOptions(ctx context.Context, e platform.Environment) (awsauth.Options, error) {
	options, err := p.AWS(ctx)
	if err == nil && options.Region != "" && e.Region != "" && options.Region != e.Region {
		return options, outcome.Usagef("environment %s is in region %s, not in %s: leave out the region", e.Name, e.Region, options.Region)
	}
	options.Region = cmp.Or(options.Region, e.Region)
	return options, err
}

// account opens the account of an environment. It refuses credentials of another account.
func (p Pipeline) account(ctx context.Context, e platform.Environment) (aws.Config, error) {
	options, err := p.awsOptions(ctx, e)
	if err != nil {
		return aws.Config{}, err
	}
	if err := checkAccount(ctx, options, e); err != nil {
		return aws.Config{}, err
	}
	return awsauth.Load(ctx, options)
}

// other returns the pipeline of another environment of the same tree.
func (p Pipeline) other(environment string) Pipeline {
	p.Environment = environment
	if p.OtherAWS != nil {
		p.AWS = p.OtherAWS
	}
	return p
}

// checkAccount refuses credentials of another account than the environment's.
func checkAccount(ctx context.Context, options awsauth.Options, e platform.Environment) error {
	if e.AccountID == "" {
		return nil
	}
	account, _, err := awsauth.Caller{Options: options}.Identity(ctx)
	if err == nil && account != e.AccountID {
		return outcome.Refusedf("environment %s is in account %s, but the credentials are of account %s: use credentials of %s", e.Name, e.AccountID, account, e.AccountID)
	}
	return err
}
