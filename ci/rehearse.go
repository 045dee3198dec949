package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/report"
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
	// killed, lost-answers, throttled or outage.
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
) (*Release, error) {
	defer logElapsed("rehearsal")()
	lock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"slipway", "rehearse", "--output=json", "--scenario=" + scenario}
	if skipTests {
		args = append(args, "--skip-tests")
	}
	if pipeline {
		args = append(args, "--pipeline")
	}
	if faultIn != "" {
		args = append(args, "--fault-in="+faultIn)
	}
	done := m.command(lock).
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

// RehearseInfra applies the platform to moto, plans it again and destroys it.
//
// It needs no account. The second plan must be empty, except for attributes that moto does not keep.
func (m *Slipway) RehearseInfra(ctx context.Context) (string, error) {
	defer logElapsed("rehearsal of the platform")()
	lock, err := m.locked(ctx)
	if err != nil {
		return "", err
	}
	tests := m.containers().prepare(step.Step{
		Image: lock.Reference("moto"), Dir: gotest.PipelineTests, Caches: step.GoCaches(),
	}).
		WithDirectory("/usr/local/go", dag.Container().From(lock.Reference("go")).Directory("/usr/local/go")).
		WithFile("/usr/local/bin/terraform", dag.Container().From(lock.Reference("terraform")).File(terraformBinary)).
		WithEnvVariable("GOPATH", "/go").
		WithExec([]string{"/usr/local/go/bin/go", "test", "-v", "-count=1", "-timeout=30m", "./terraform/moto"})
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
	return m.command(lock).
		WithExposedPort(upPort, dagger.ContainerWithExposedPortOpts{Description: "the load balancer"}).
		AsService(dagger.ContainerAsServiceOpts{Args: []string{"slipway", "up", fmt.Sprintf("--listen=0.0.0.0:%d", upPort)}}), nil
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

// command returns a container with the slipway command, at the root of the tree.
func (m *Slipway) command(lock image.Lock) *dagger.Container {
	return m.containers().prepare(step.Step{Image: lock.Reference("go"), Caches: step.GoCaches()}).
		WithExec([]string{"go", "build", "-o", "/usr/local/bin/slipway", "./ci/cmd/slipway"})
}
