package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

// Rehearse rehearses the delivery of the services against an embedded AWS.
//
// It tests, builds, publishes and releases under traffic. It fails if the release fails, with the
// causes. Most scenarios other than happy make it fail.
//
// +cache="never"
func (m *Slipway) Rehearse(
	ctx context.Context,
	// Fault to inject: happy (none), crash, unhealthy,
	// missing-image, hang, cancel, wrong-version, alarm, stopped, replaced,
	// killed, lost-answers, throttled, outage, or with traffic that is shifted bad-canary,
	// alarm-in-bake, hook-timeout, killed-paused, foreign-weights or one-of-three-bad.
	//
	// +default="happy"
	scenario string,
	// Skip the tests.
	//
	// +optional
	skipTests bool,
	// Rehearse two environments: the release to staging and its promotion to production.
	//
	// +optional
	pipeline bool,
	// Environment of the fault with pipeline: staging or production. Default: staging.
	//
	// +optional
	faultIn string,
	// Deployment strategy of all web services: rolling, blue_green, canary or linear. Default: as in the services file.
	//
	// +optional
	strategy string,
) (*Release, error) {
	defer logElapsed("rehearsal")()
	lock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{commandName, "rehearse", "--output=json", "--scenario=" + scenario}
	if skipTests {
		args = append(args, "--skip-tests")
	}
	if pipeline {
		args = append(args, "--pipeline")
	}
	if faultIn != "" {
		args = append(args, "--fault-in="+faultIn)
	}
	if strategy != "" {
		args = append(args, "--strategy="+strategy)
	}
	command, err := m.command(lock)
	if err != nil {
		return nil, err
	}
	done := command.
		WithEnvVariable("SLIPWAY_RUN", time.Now().Format(time.RFC3339Nano)). // no run is another's cache
		WithExec(args, dagger.ContainerWithExecOpts{Expect: dagger.ReturnTypeAny})
	document, err := done.Stdout(ctx)
	if err != nil {
		return nil, fmt.Errorf("rehearsing: %w", err)
	}
	var release report.Release
	if err := json.Unmarshal([]byte(document), &release); err != nil {
		stderr, _ := done.Stderr(ctx) // the reason, if available
		return nil, fmt.Errorf("rehearsing: %s", strings.TrimSpace(stderr))
	}
	r, err := render(release)
	if err != nil {
		return nil, err
	}
	return newRelease(release, r, false)
}

// RehearseInfra applies slipway's own Terraform to moto, plans it again and destroys it.
//
// It needs no account. The second plan must be empty, except for attributes that moto does not keep.
// It is a test of slipway's repository and works only there.
func (m *Slipway) RehearseInfra(ctx context.Context) (string, error) {
	defer logElapsed("rehearsal of the platform")()
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if !version.IsSlipwayTree(p.Dir) {
		return "", outcome.Usagef("rehearse-infra tests slipway's own Terraform and works only in its repository: use plan and rehearse here")
	}
	lock, err := p.ImageLock()
	if err != nil {
		return "", err
	}
	tests := m.containers().prepare(step.Step{
		Image: lock.Reference("moto"), Dir: gotest.PipelineTests, Caches: step.GoCaches(),
	}).
		WithDirectory("/usr/local/go", dag.Container().From(lock.Reference("go")).Directory("/usr/local/go")).
		WithFile("/usr/local/bin/terraform", dag.Container().From(lock.Reference("terraform")).File(terraformBinary)).
		WithEnvVariable("GOPATH", "/go").
		WithExec([]string{"/usr/local/go/bin/go", "test", "-v", "-count=1", "-timeout=30m", "./apply"})
	said, err := tests.Stdout(ctx)
	if err == nil && !strings.Contains(said, "--- PASS: TestAppliedTwiceChangesNothing") {
		return "", errors.New("the rehearsal was skipped, because something is missing:\n" + said)
	}
	return said, err
}

// terraformBinary is the path of Terraform in its image.
const terraformBinary = "/bin/terraform"

// Up runs the services as they run on AWS: `dagger call up up`, then http://localhost:8080.
//
// The second up forwards the port.
//
// +up
func (m *Slipway) Up(ctx context.Context) (*dagger.Service, error) {
	lock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	command, err := m.command(lock)
	if err != nil {
		return nil, err
	}
	return command.
		WithExposedPort(upPort, dagger.ContainerWithExposedPortOpts{Description: "the load balancer"}).
		AsService(dagger.ContainerAsServiceOpts{Args: []string{commandName, "up", fmt.Sprintf("--listen=0.0.0.0:%d", upPort)}}), nil
}

// upPort is the port of Up.
const upPort = 8080

// locked returns the locked images.
func (m *Slipway) locked(ctx context.Context) (image.Lock, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return image.Lock{}, err
	}
	defer done()
	return p.ImageLock()
}

// command returns a container with the slipway command, at the root of the tree. The
// command is this program, so that it need not be compiled: see init.
func (m *Slipway) command(lock image.Lock) (*dagger.Container, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the slipway command: %w", err)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("reading the slipway command: %w", err)
	}
	copied := filepath.Join(tempDir, commandName)
	if err := errors.Join(os.MkdirAll(tempDir, 0o700), source.WriteFileAtomic(copied, content, 0o700)); err != nil {
		return nil, fmt.Errorf("copying the slipway command: %w", err)
	}
	container := m.containers().prepare(step.Step{Image: lock.Reference("go"), Caches: step.GoCaches()})
	for _, name := range sessionVariables {
		container = container.WithEnvVariable(name, "0")
	}
	return container.
		WithFile("/usr/local/bin/"+commandName, dag.CurrentModule().WorkdirFile(copied), dagger.ContainerWithFileOpts{Permissions: 0o755}), nil
}

// commandName is the name of the slipway command.
const commandName = "slipway"

// sessionVariables must be set for a program that has Dagger's client, even if it does not
// use it.
var sessionVariables = []string{"DAGGER_SESSION_PORT", "DAGGER_SESSION_TOKEN"}

// init runs the slipway command if this program was started under its name.
func init() {
	if filepath.Base(os.Args[0]) != commandName {
		return
	}
	for _, name := range sessionVariables { // tools that it starts must not find them
		_ = os.Unsetenv(name)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { cancel(outcome.Interruption(fmt.Sprintf("interrupted (%s)", <-signals))) }()
	os.Exit(int(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, nil)))
}
