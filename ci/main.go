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

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/exec/step"
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
	return []string{
		".slipway", "**/.terraform", "**/node_modules", "**/*.tfstate*", "**/.env",
		".git/FETCH_HEAD", ".git/ORIG_HEAD", ".git/COMMIT_EDITMSG", ".git/*.lock", ".git/hooks", ".git/logs",
		".git/refs/remotes", ".git/refs/stash", ".git/worktrees", // what git fetch and the like change
	}
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
// trace. The tree is copied to the module's own disk, where plain Go packages read it;
// done removes the copy.
func (m *Slipway) pipeline(ctx context.Context) (p pipeline.Pipeline, done func(), err error) {
	if err := stayHome(); err != nil {
		return p, nil, err
	}
	if p.Dir, err = os.MkdirTemp("", "slipway-source-"); err != nil {
		return p, nil, fmt.Errorf("making room for the source tree: %w", err)
	}
	stop := func() {}
	done = func() { stop(); _ = os.RemoveAll(p.Dir) } // what cannot be removed goes with the container
	if _, err := m.Source.Export(ctx, p.Dir); err != nil {
		done()
		return p, nil, fmt.Errorf("reading the source tree: %w", err)
	}
	p.Recorder = report.NewRecorder(time.Now, report.Plain{W: os.Stderr})
	p.Exec = func(environment map[string]string) step.Executor {
		c := containers{source: m.Source}
		if environment != nil {
			c.environment, c.emulator = environment, m.Account.Emulator
		}
		return c
	}
	p.AWS = func(ctx context.Context) (options awsauth.Options, err error) {
		options, end, err := m.Account.options(ctx)
		if err == nil {
			stop = end
			if m.Account.Emulator != nil {
				closed := door(ctx, options)
				stop = func() { closed(); end() }
			}
		}
		return options, err
	}
	return p, done, nil
}

// temporary is the folder of temporary files, below the module's own directory.
const temporary = "tmp"

// stayHome puts temporary files below the module's own directory: from nowhere else
// can they be handed to a container.
func stayHome() error {
	here, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the module's directory: %w", err)
	}
	there := filepath.Join(here, temporary)
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
