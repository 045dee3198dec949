package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/step"
)

// Release is what came of a release.
type Release struct {
	// Result is succeeded or unchanged.
	Result string
	// JSON is the report for programs.
	JSON string
	// Markdown is the report for a job summary or a pull request.
	Markdown string
	// Report is the report for a terminal.
	Report string
}

// Rehearse delivers the services with everything real but AWS.
//
// Against an embedded AWS it goes through test, build, publish, and a release under traffic. It fails
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
	w, err := m.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	args := []string{"slipway", "rehearse", "--output=json", "--scenario=" + scenario}
	if skipTests {
		args = append(args, "--skip-tests")
	}
	done := m.command(w.lock).
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
	return newRelease(release)
}

// command is a container with the slipway command, at the root of the tree.
func (m *Slipway) command(lock image.Lock) *dagger.Container {
	return containers{m.Source}.prepare(step.Step{Image: lock.Reference("go"), Caches: step.GoCaches()}).
		WithExec([]string{"go", "build", "-o", "/usr/local/bin/slipway", "./ci/cmd/slipway"})
}

// newRelease renders a report. A release that did not succeed is an error
// whose text is the report.
func newRelease(release report.Release) (*Release, error) {
	var text, markdown, document strings.Builder
	if err := errors.Join(release.Text(&text), release.Markdown(&markdown), release.JSON(&document)); err != nil {
		return nil, err
	}
	if release.ExitCode != 0 {
		return nil, errors.New(text.String())
	}
	return &Release{Result: string(release.Result), JSON: document.String(), Markdown: markdown.String(), Report: text.String()}, nil
}
