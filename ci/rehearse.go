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

// Rehearse delivers the services against an embedded AWS, with everything else real.
//
// It goes through test, build, publish, and a release under traffic. It fails
// when the release does, with the causes; the scenarios other than happy are
// there to fail.
//
// +cache="never"
func (m *Slipway) Rehearse(
	ctx context.Context,
	// What happens to the new version or to the release: happy, crash, unhealthy,
	// missing-image, hang, cancel, wrong-version, alarm, stopped, replaced,
	// killed, lost-answers, throttled or outage.
	//
	// +default="happy"
	scenario string,
	// Do not run the tests.
	//
	// +optional
	skipTests bool,
) (*Release, error) {
	defer alive("rehearsal")()
	lock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"slipway", "rehearse", "--output=json", "--scenario=" + scenario}
	if skipTests {
		args = append(args, "--skip-tests")
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
		said, _ := done.Stderr(ctx) // it is the reason, where it can be had
		return nil, fmt.Errorf("rehearsing: %s", strings.TrimSpace(said))
	}
	r, err := render(release)
	if err != nil {
		return nil, err
	}
	return newRelease(release, r)
}

// RehearseInfra applies the platform, plans it again and destroys it, against moto.
//
// The second plan must be empty, but for what moto is known to forget. It needs no account.
func (m *Slipway) RehearseInfra(ctx context.Context) (string, error) {
	defer alive("rehearsal of the platform")()
	lock, err := m.locked(ctx)
	if err != nil {
		return "", err
	}
	tests := containers{source: m.Source}.prepare(step.Step{
		Image: lock.Reference("moto"), Dir: gotest.PipelineTests, Caches: step.GoCaches(),
	}).
		WithDirectory("/usr/local/go", dag.Container().From(lock.Reference("go")).Directory("/usr/local/go")).
		WithFile("/usr/local/bin/terraform", dag.Container().From(lock.Reference("terraform")).File(terraformBinary)).
		WithEnvVariable("GOPATH", "/go").
		WithExec([]string{"/usr/local/go/bin/go", "test", "-v", "-count=1", "-timeout=30m", "./terraform/moto"})
	said, err := tests.Stdout(ctx)
	if err == nil && !strings.Contains(said, "--- PASS: TestAppliedTwiceChangesNothing") {
		return "", errors.New("nothing was rehearsed, because something is missing:\n" + said)
	}
	return said, err
}

// terraformBinary is the tool's place in its image.
const terraformBinary = "/bin/terraform"

// Up runs the services in the engine, as they run on AWS, at http://localhost:8080.
//
// Call it as dagger call up up: the second one forwards the port.
//
// +up
func (m *Slipway) Up(ctx context.Context) (*dagger.Service, error) {
	lock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	return m.command(lock).
		WithExposedPort(upPort, dagger.ContainerWithExposedPortOpts{Description: "the front door"}).
		AsService(dagger.ContainerAsServiceOpts{Args: []string{"slipway", "up", fmt.Sprintf("--listen=0.0.0.0:%d", upPort)}}), nil
}

// upPort is where Up serves.
const upPort = 8080

// locked are the images from elsewhere.
func (m *Slipway) locked(ctx context.Context) (image.Lock, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return image.Lock{}, err
	}
	defer done()
	return p.ImageLock()
}

// command is a container with the slipway command, at the root of the tree.
func (m *Slipway) command(lock image.Lock) *dagger.Container {
	return containers{source: m.Source}.prepare(step.Step{Image: lock.Reference("go"), Caches: step.GoCaches()}).
		WithExec([]string{"go", "build", "-o", "/usr/local/bin/slipway", "./ci/cmd/slipway"})
}
