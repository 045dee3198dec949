// Package supplychain attaches bills of materials, provenance and signatures to
// images, and scans images for vulnerabilities. It runs syft, cosign and Trivy as
// steps. Its own code covers an image's provenance and the findings of Amazon ECR.
package supplychain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// toolTimeout limits one run of a tool, including its network requests.
const toolTimeout = 10 * time.Minute

// Subject is an image to attest or scan.
type Subject struct {
	Service string
	// SharedBy are further services with the same image.
	SharedBy []string
	// Repository is the image's repository; empty if it is not published.
	Repository string
	Index      v1.ImageIndex
}

// Tools runs the tools.
type Tools struct {
	Exec step.Executor
	// Image returns the container image of a tool.
	Image func(tool string) string
}

// Require checks that tools are installed before anything is changed. A missing
// tool is a usage error that explains how to install it.
func (t Tools) Require(ctx context.Context, tools ...tool.Tool) error {
	for _, required := range tools {
		err := t.run(ctx, required, step.Step{}, os.TempDir(), "version")
		if missing := (*tool.MissingError)(nil); errors.As(err, &missing) {
			return outcome.With(outcome.Usage, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run runs a tool. A nonzero exit code is an [*exitError].
func (t Tools) run(ctx context.Context, of tool.Tool, s step.Step, dir string, args ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, toolTimeout, fmt.Errorf("%s did not finish within %s", of.Name, toolTimeout))
	defer cancel()
	s.Name, s.Image, s.Dir, s.Args = of.Name+" "+args[0], t.Image(of.Name), ".", of.Command(args...)
	s.Include = []string{platform.ServicesFile} // no source files, but the tree must not be empty
	result, err := of.Run(ctx, t.Exec, s, dir)
	if err != nil {
		return err
	}
	if result.ExitCode != 0 {
		return &exitError{step: s.Name, code: result.ExitCode, stderr: errorTail(result.Stderr)}
	}
	return nil
}

// exitError is the error of a tool that exited with a nonzero code.
type exitError struct {
	step   string
	code   int
	stderr string
}

func (e *exitError) Error() string {
	return fmt.Sprintf("%s ended with exit code %d: %s", e.step, e.code, cmp.Or(e.stderr, "no error output"))
}

// errorTail returns the end of a tool's error output in one line.
func errorTail(stderr string) string {
	_, last, ok := strings.Cut(stderr, "error during command execution: ") // cosign's
	lines := strings.Split(strings.TrimSpace(last), "\n")
	if !ok {
		lines = strings.Split(strings.TrimSpace(stderr), "\n")
		lines = lines[max(0, len(lines)-3):]
	}
	text := ""
	for _, line := range lines {
		if !strings.HasSuffix(text, strings.TrimSpace(line)) { // joined errors repeat the last one
			text += " " + line
		}
	}
	return outcome.OneLine(text)
}

// layoutFolder has the OCI layout of an image.
const layoutFolder = "image"

// writeLayout writes the image's layout below dir.
func (s Subject) writeLayout(dir string) error {
	if _, err := layout.Write(filepath.Join(dir, layoutFolder), s.Index); err != nil {
		return fmt.Errorf("writing the layout of the image: %w", err)
	}
	return nil
}

// platforms returns the descriptors of the image's platforms. Nested indexes and
// artifacts have no platform.
func (s Subject) platforms() ([]v1.Descriptor, error) {
	manifest, err := s.Index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(manifest.Manifests), func(d v1.Descriptor) bool { return d.Platform == nil }), nil
}

// platformFileName returns the file name prefix for a platform.
func platformFileName(platform v1.Descriptor) string {
	return strings.ReplaceAll(platform.Platform.String(), "/", "-")
}

// tempDir creates a directory that tools share.
func tempDir() (dir string, done func(), err error) {
	dir, err = os.MkdirTemp("", "slipway-supply-")
	if err != nil {
		return "", nil, fmt.Errorf("creating a temporary directory for the tools: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}
