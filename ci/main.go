// Slipway delivers container services to AWS ECS Fargate: it tests, builds,
// publishes and releases them, and rehearses the whole on one machine.
//
// The functions run a stage's tools in containers; every decision is taken by
// the packages below internal, which the slipway command runs with the tools
// of the host.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// Slipway is the pipeline over one source tree.
type Slipway struct {
	// +private
	Source *dagger.Directory
	// +private
	Account Account
}

// New takes the source tree, and what to talk to AWS with.
//
// Functions that do not talk to AWS need the source tree alone.
func New(
	ctx context.Context,
	ws *dagger.Workspace,
	// Root of the source tree, with its .git: the repository decides what ships. That
	// in which the call is made by default, also where -m names this module elsewhere.
	//
	// +optional
	source *dagger.Directory,
	// AWS credentials as JSON, as `aws configure export-credentials --format process`
	// prints them: --aws-credentials='cmd://aws configure export-credentials
	// --format process' covers profiles, SSO and static keys.
	//
	// +optional
	awsCredentials *dagger.Secret,
	// ARN of the role to assume with the identity of a job of GitHub Actions.
	//
	// +optional
	awsRole string,
	// The job's permission to ask for its identity:
	// env://ACTIONS_ID_TOKEN_REQUEST_URL.
	//
	// +optional
	githubTokenURL *dagger.Secret,
	// The job's permission to ask for its identity:
	// env://ACTIONS_ID_TOKEN_REQUEST_TOKEN.
	//
	// +optional
	githubToken *dagger.Secret,
	// Number of the workflow's run, for the session's name in CloudTrail.
	//
	// +optional
	githubRun string,
	// AWS region; us-east-1 by default.
	//
	// +optional
	awsRegion string,
	// An emulator to talk to instead of AWS, such as tcp://127.0.0.1:4566 for
	// `slipway rehearse --keep --listen 127.0.0.1:4566`.
	//
	// +optional
	aws *dagger.Service,
) (*Slipway, error) {
	if source == nil {
		var err error
		if source, err = checkout(ctx, ws); err != nil {
			return nil, err
		}
	} else {
		source = source.Filter(dagger.DirectoryFilterOpts{Exclude: ignored()})
	}
	return &Slipway{Source: source, Account: Account{
		Credentials: awsCredentials, Role: awsRole, TokenURL: githubTokenURL, Token: githubToken, Run: githubRun,
		Region: awsRegion, Emulator: aws,
	}}, nil
}

// ignored is what is no part of a source tree. Dagger's own pragma for it would make a
// directory of each commit another one to the cache, whatever of it is read.
func ignored() []string {
	return []string{".slipway", "**/.terraform", "**/node_modules", "**/*.tfstate*", "**/.env"}
}

// checkout is the repository that a call is made in, less what is ignored. Outside of
// one, all that lies below the caller's directory would be sent to the engine.
func checkout(ctx context.Context, ws *dagger.Workspace) (*dagger.Directory, error) {
	git, err := ws.FindUp(ctx, ".git", dagger.WorkspaceFindUpOpts{From: "/"})
	if err != nil {
		return nil, fmt.Errorf("looking for the source tree: %w", err)
	}
	if git == "" {
		return nil, outcome.Usagef("no git repository here: call from one, or name one with --source=DIR before the function's name")
	}
	return ws.Directory("/", dagger.WorkspaceDirectoryOpts{Exclude: ignored()}), nil
}

// pipeline runs stages on the source tree, in containers. What happens is told in the
// trace.
func (m *Slipway) pipeline(ctx context.Context) (pipeline.Pipeline, func(), error) {
	w, err := m.export(ctx)
	if err != nil {
		return pipeline.Pipeline{}, nil, err
	}
	stop := func() {}
	p := pipeline.Pipeline{
		Dir: w.dir, Exec: newContainers(m.Source), Recorder: report.NewRecorder(time.Now, report.Plain{W: os.Stderr}),
		AWS: func(ctx context.Context) (aws.Config, error) {
			options, end, err := m.Account.options(ctx)
			if err != nil {
				return aws.Config{}, err
			}
			stop = end
			config, err := awsauth.Load(ctx, options)
			if err == nil && m.Account.Emulator != nil {
				closed := door(ctx, config, options.Endpoint)
				stop = func() { closed(); end() }
			}
			return config, err
		},
	}
	return p, func() { stop(); w.close() }, nil
}

// workspace is the source tree on the module's own disk, where plain Go
// packages read it.
type workspace struct {
	dir      string
	tree     source.Tree
	platform platform.Platform
	lock     image.Lock
}

// open copies the source tree to the module's disk and reads its services.
// The caller removes it with close.
func (m *Slipway) open(ctx context.Context) (*workspace, error) {
	w, err := m.export(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.load(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// export copies the source tree to the module's disk, and reads nothing of it.
func (m *Slipway) export(ctx context.Context) (*workspace, error) {
	if err := stayHome(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "slipway-source-")
	if err != nil {
		return nil, fmt.Errorf("making room for the source tree: %w", err)
	}
	w := &workspace{dir: dir}
	if _, err := m.Source.Export(ctx, w.dir); err != nil {
		w.close()
		return nil, fmt.Errorf("reading the source tree: %w", err)
	}
	return w, nil
}

// stayHome puts temporary files below the module's own directory: from nowhere else
// can they be handed to a container.
func stayHome() error {
	here, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the module's directory: %w", err)
	}
	there := filepath.Join(here, "tmp")
	if err := errors.Join(os.MkdirAll(there, 0o700), os.Setenv("TMPDIR", there)); err != nil {
		return fmt.Errorf("making room for temporary files: %w", err)
	}
	return nil
}

// handOver makes a directory on the module's disk one of the engine's. It may be
// removed after that.
func handOver(ctx context.Context, dir string) (*dagger.Directory, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the module's directory: %w", err)
	}
	below, err := filepath.Rel(here, dir)
	if err != nil {
		return nil, fmt.Errorf("handing over %s: %w", dir, err)
	}
	return dag.CurrentModule().Workdir(below).Sync(ctx)
}

func (w *workspace) load(ctx context.Context) error {
	var err error
	if w.tree, err = source.Open(ctx, w.dir); err != nil {
		return err
	}
	if w.platform, err = platform.LoadTree(ctx, w.tree); err != nil {
		return err
	}
	w.lock, err = image.ReadLock(w.dir)
	return err
}

// close removes the copy. What cannot be removed goes with the container.
func (w *workspace) close() { _ = os.RemoveAll(w.dir) }
