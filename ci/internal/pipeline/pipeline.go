// Package pipeline puts the stages together: it opens the source tree, its settings and
// the account, and has a method for each stage, which returns a document. The faces
// bind flags and print.
package pipeline

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/release/delivery"
	"dagger/slipway/internal/report"
)

// Pipeline runs stages on a source tree.
type Pipeline struct {
	// Dir is the root of the source tree.
	Dir string
	// Exec makes what runs tools in containers, given what those that ask for it have
	// in their environment; nil runs the tools of this machine.
	Exec func(environment map[string]string) step.Executor
	// Log receives what Terraform says while it runs on this machine.
	Log io.Writer
	// Cache is where builds keep what they made: see [image.Builder].
	Cache string
	// AWS says how to open the account, for the stages that need one.
	AWS func(context.Context) (awsauth.Options, error)
	// Recorder is told what happens.
	Recorder *report.Recorder
	// Next, if set, is told what a human has to run should the process end now.
	Next func(command string)
	// Attestations are attached to what is published.
	Attestations delivery.Attestations
}

// tree is a source tree with its settings.
type tree struct {
	source.Tree
	platform platform.Platform
	lock     image.Lock
}

// open reads the source tree and its settings.
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

// exec runs tools on a source tree.
func (p Pipeline) exec(t source.Tree, environment map[string]string) step.Executor {
	if p.Exec == nil {
		return step.Host{Source: t.Dir, Env: environment}
	}
	return p.Exec(environment)
}

// account opens the account.
func (p Pipeline) account(ctx context.Context) (aws.Config, error) {
	options, err := p.AWS(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	return awsauth.Load(ctx, options)
}
