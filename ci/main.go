// Slipway delivers container services to AWS ECS Fargate: it tests, builds,
// publishes and releases them, and rehearses the delivery on one machine.
//
// The functions run the tools of a stage in containers. The packages below
// internal make all decisions; the slipway command runs the same stages with
// the tools of the host.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Slipway is the pipeline over one source tree.
type Slipway struct {
	// +private
	Source *dagger.Directory
	// Objects reports whether tree adds git's objects to Source, from the workspace.
	//
	// +private
	Objects bool
	// Folder is the folder of Source that has the services file; "." for all of it.
	//
	// +private
	Folder string
	// +private
	Account Account
	// +private
	Environment string
	// Netrc and GoEnv give the go command access to private modules.
	//
	// +private
	Netrc *dagger.Secret
	// +private
	GoEnv []string
	// +private
	BuildSecrets []*dagger.Secret
	// +private
	Notifications Notifications
}

// New takes the source tree and the credentials for AWS.
//
// Functions that do not call AWS need only the source tree.
func New(
	ctx context.Context,
	ws *dagger.Workspace,
	// Root of the source tree, with .git. Default: the git repository of the current
	// directory, also if -m names this module elsewhere.
	//
	// +optional
	source *dagger.Directory,
	// Folder of the source tree that has terraform/ and the services, if it is one of several
	// in a repository, such as --folder=shop. Default: the root.
	//
	// +optional
	folder string,
	// AWS credentials as JSON, as `aws configure export-credentials --format process`
	// prints them: --aws-credentials='cmd://aws configure export-credentials
	// --format process' covers profiles, SSO and static keys.
	//
	// +optional
	awsCredentials *dagger.Secret,
	// ARN of the role to assume with the identity of a GitHub Actions job.
	//
	// +optional
	awsRole string,
	// URL for the identity of a GitHub Actions job:
	// env://ACTIONS_ID_TOKEN_REQUEST_URL.
	//
	// +optional
	githubTokenURL *dagger.Secret,
	// Token for the identity of a GitHub Actions job:
	// env://ACTIONS_ID_TOKEN_REQUEST_TOKEN.
	//
	// +optional
	githubToken *dagger.Secret,
	// Number of the workflow run, for the session name in CloudTrail.
	//
	// +optional
	githubRun string,
	// AWS region. Default: the environment's, or us-east-1.
	//
	// +optional
	awsRegion string,
	// Environment, of those in terraform/environments. Default: the only one.
	//
	// +optional
	environment string,
	// Emulator to use instead of AWS, such as tcp://127.0.0.1:4566 for
	// `slipway rehearse --keep --listen 127.0.0.1:4566`.
	//
	// +optional
	aws *dagger.Service,
	// Logins for private Go modules, a netrc file: --netrc=file://$HOME/.netrc.
	//
	// +optional
	netrc *dagger.Secret,
	// Settings of the go command for private modules and mirrors, such as
	// --go-env=GOPRIVATE=example.com/team or --go-env=GOVULNDB=https://vuln.example.com.
	//
	// +optional
	goEnv []string,
	// Secrets for Dockerfiles: the build_secrets of their entries, such as
	// --build-secrets=env://NPM_TOKEN.
	//
	// +optional
	buildSecrets []*dagger.Secret,
	// URL of a webhook that is notified of releases: --notify-url=env://SLIPWAY_NOTIFY_URL.
	//
	// +optional
	notifyURL *dagger.Secret,
	// Key that signs the notifications: whsec_ and the base64 of 24 random bytes or more.
	//
	// +optional
	notifyKey *dagger.Secret,
	// URL of an incoming webhook of Slack that is notified of releases.
	//
	// +optional
	slackURL *dagger.Secret,
	// Token of a GitHub Actions job with deployments: write, to set the status of the
	// deployment of a release: --deployments-token=env://DEPLOYMENTS_TOKEN.
	//
	// +optional
	deploymentsToken *dagger.Secret,
	// Repository on GitHub with the deployments, OWNER/REPO.
	//
	// +optional
	githubRepository string,
	// Base URL of GitHub's API. Default: https://api.github.com.
	//
	// +optional
	githubAPI string,
) (*Slipway, error) {
	if err := image.CheckGoSettings(goEnv); err != nil {
		return nil, err
	}
	if folder != "" && !filepath.IsLocal(folder) {
		return nil, outcome.Usagef("invalid --folder %q: want a folder of the source tree, such as --folder=shop", folder)
	}
	objects := false
	if source == nil {
		var err error
		if source, objects, err = checkout(ctx, ws); err != nil {
			return nil, err
		}
	} else {
		source = source.Filter(dagger.DirectoryFilterOpts{Exclude: ignored()})
	}
	return &Slipway{Source: source, Objects: objects, Folder: path.Clean(folder), Environment: environment, Account: Account{
		Credentials: awsCredentials, Role: awsRole, TokenURL: githubTokenURL, Token: githubToken, Run: githubRun,
		Region: awsRegion, Emulator: aws,
	}, Netrc: netrc, GoEnv: goEnv, BuildSecrets: buildSecrets, Notifications: Notifications{
		URL: notifyURL, Key: notifyKey, SlackURL: slackURL, DeploymentsToken: deploymentsToken, Repository: githubRepository, API: githubAPI,
	}}, nil
}

// ignored lists what is not part of a source tree. With Dagger's +ignore pragma instead,
// each commit would invalidate the cache of every function, whatever it reads.
func ignored() []string {
	return []string{
		".slipway", "**/.terraform", "**/node_modules", "**/*.tfstate*", "**/.env",
		".git/FETCH_HEAD", ".git/ORIG_HEAD", ".git/COMMIT_EDITMSG", ".git/*.lock", ".git/hooks", ".git/logs",
		".git/refs/remotes", ".git/refs/stash", ".git/worktrees", // what git fetch and the like change
	}
}

// checkout returns the git repository of the caller's directory, without ignored files and
// other branches; objects reports whether tree has to add git's objects. It fails
// outside of one, where the whole directory would be sent to the engine.
func checkout(ctx context.Context, ws *dagger.Workspace) (source *dagger.Directory, objects bool, err error) {
	git, err := ws.FindUp(ctx, ".git", dagger.WorkspaceFindUpOpts{From: "/"})
	if err != nil {
		return nil, false, fmt.Errorf("finding the source tree: %w", err)
	}
	if git == "" {
		return nil, false, outcome.Usagef("no git repository here: call from one, or name one with --source=DIR before the function's name")
	}
	exclude := ignored()
	head, err := ws.File(".git/HEAD").Contents(ctx)
	if err != nil { // such as a linked worktree, which is refused later
		return ws.Directory("/", dagger.WorkspaceDirectoryOpts{Exclude: exclude}), false, nil //nolint:nilerr // see above
	}
	if branch, on := strings.CutPrefix(strings.TrimSpace(head), "ref: refs/heads/"); on {
		exclude = append(exclude, ".git/refs/heads/**", "!.git/refs/heads/"+branch)
	}
	return ws.Directory("/", dagger.WorkspaceDirectoryOpts{Exclude: append(exclude, objectsDir)}), true, nil
}

// objectsDir is the directory of git's objects.
const objectsDir = ".git/objects"

// tree returns the source tree with git's objects. The objects are not part of the cache
// key of a function: the commit and the index are, and identify what it reads of them, so
// git fetch does not invalidate the cache.
func (m *Slipway) tree() *dagger.Directory {
	if !m.Objects {
		return m.Source
	}
	return m.Source.WithDirectory(objectsDir, dag.CurrentWorkspace().Directory(objectsDir))
}

// pipeline returns the pipeline of the source tree, which runs tools in containers and
// logs to the trace. It copies the tree to the module's disk, where plain Go packages
// read it; done removes the copy.
func (m *Slipway) pipeline(ctx context.Context) (p pipeline.Pipeline, done func(), err error) {
	if err := useModuleTempDir(); err != nil {
		return p, nil, err
	}
	if p.Dir, err = os.MkdirTemp("", "slipway-source-"); err != nil {
		return p, nil, fmt.Errorf("creating the directory of the source tree: %w", err)
	}
	stop, top := func() {}, p.Dir
	done = func() { stop(); _ = os.RemoveAll(top) } // the rest is removed with the container
	if _, err := m.tree().Export(ctx, top); err != nil {
		done()
		return p, nil, fmt.Errorf("reading the source tree: %w", err)
	}
	p.Dir = filepath.Join(top, filepath.FromSlash(m.Folder))
	if info, err := os.Stat(p.Dir); err != nil || !info.IsDir() {
		done()
		return p, nil, outcome.Usagef("invalid --folder %q: the source tree has no such folder", m.Folder)
	}
	p.Environment, p.CI = m.Environment, m.Account.Run != ""
	p.Recorder = report.NewRecorder(time.Now, report.Plain{W: os.Stderr})
	p.Exec = func(environment map[string]string) step.Executor {
		c := m.containers()
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
				endForward := forwardLoadBalancer(ctx, options, loadBalancer(p))
				stop = func() { endForward(); end() }
			}
		}
		return options, err
	}
	return p, done, nil
}

// tempDir is the directory of temporary files, below the module's own directory.
const tempDir = "tmp"

// useModuleTempDir sets TMPDIR to a directory below the module's own: Dagger can export
// files only from there.
func useModuleTempDir() error {
	here, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the module's directory: %w", err)
	}
	there := filepath.Join(here, tempDir)
	if err := errors.Join(os.MkdirAll(there, 0o700), os.Setenv("TMPDIR", there)); err != nil {
		return fmt.Errorf("creating the directory of temporary files: %w", err)
	}
	return nil
}

// exportDirectory copies a directory of the module's disk to the engine. The original may
// then be removed.
func exportDirectory(ctx context.Context, dir string) (*dagger.Directory, error) {
	directory, err := workdir(dir)
	if err != nil {
		return nil, fmt.Errorf("exporting %s: %w", dir, err)
	}
	return directory.Sync(ctx)
}

// workdir returns a directory of the module's disk.
func workdir(dir string) (*dagger.Directory, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the module's directory: %w", err)
	}
	below, err := filepath.Rel(here, dir)
	if err != nil {
		return nil, err
	}
	return dag.CurrentModule().Workdir(below), nil
}
