package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/release/delivery"
	"dagger/slipway/internal/report/outcome"
)

// Build builds the images of the services.
//
// It returns one OCI image layout per service, in a folder of its name, and images.json with
// the digests. The same source gives the same digests as on any other machine.
func (m *Slipway) Build(
	ctx context.Context,
	// Build only these services.
	//
	// +optional
	services []string,
	// Platforms to build for, such as linux/arm64; linux/amd64 and linux/arm64
	// by default.
	//
	// +optional
	platforms []string,
	// Assemble sites without their base image, and without asking its registry: good
	// for a rehearsal only. Otherwise a base that cannot be reached is a failure.
	//
	// +optional
	withoutBase bool,
) (*dagger.Directory, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := os.MkdirTemp("", "slipway-build-")
	if err != nil {
		return nil, fmt.Errorf("making room for the layouts: %w", err)
	}
	built, err := p.Build(ctx, pipeline.ImageOptions{Services: services, Platforms: platforms, WithoutBase: withoutBase, RequireBase: true}, out)
	if err != nil {
		return nil, err
	}
	for _, remark := range built.Notes() {
		fmt.Fprintln(os.Stderr, remark)
	}
	r, err := render(built)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(out, "images.json"), []byte(r.json), 0o644); err != nil {
		return nil, err
	}
	return handOver(ctx, out)
}

// Published is what was published.
type Published struct {
	// Json is the result for programs.
	Json string
	// Markdown is the result for a job summary.
	Markdown string
	// Report is the result for a terminal.
	Report string
}

// Publish publishes the images of a commit, with what there is to say about them.
//
// The tree must be clean and at that commit. A tag is never moved.
//
// +cache="never"
func (m *Slipway) Publish(
	ctx context.Context,
	// Full id of the commit; the tree's by default.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// Sign as the job of GitHub Actions whose permission to ask for its identity
	// was given. Sigstore's public log then shows the workflow's name.
	//
	// +default=true
	keyless bool,
) (*Published, error) {
	_, r, err := on(ctx, m, func(p pipeline.Pipeline) (found delivery.Published, err error) {
		if p.Attestations, err = m.Account.attestations(ctx, keyless); err != nil {
			return found, err
		}
		return p.Publish(ctx, pipeline.PublishOptions{ImageOptions: pipeline.ImageOptions{Services: services}, SHA: sha})
	})
	return &Published{Json: r.json, Markdown: r.markdown, Report: r.text}, err
}

// Scan is what is known to be vulnerable in images.
type Scan struct {
	// Result is succeeded or failed.
	Result string
	// Json is the report for programs.
	Json string
	// Markdown is the report for a job summary or a pull request.
	Markdown string
	// Report is the report for a terminal.
	Report string
}

// Scan looks for known vulnerabilities in the services' images, with Trivy.
//
// It looks at what the tree builds, or with sha at published images, and there also at what Amazon
// ECR's own scan found. It fails when it finds something, with all findings; those in
// .trivyignore.yaml are accepted.
//
// +cache="never"
func (m *Slipway) Scan(
	ctx context.Context,
	// Full id of a commit whose published images are scanned.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// Severity from which on a finding fails: critical, high, medium, low or none.
	//
	// +default="high"
	failOn string,
	// Return the report even if there are findings.
	//
	// +optional
	tolerate bool,
) (*Scan, error) {
	found, r, err := on(ctx, m, func(p pipeline.Pipeline) (supplychain.Report, error) {
		return p.Scan(ctx, pipeline.ScanOptions{ImageOptions: pipeline.ImageOptions{Services: services}, SHA: sha, FailOn: failOn})
	})
	if err != nil {
		return nil, err
	}
	if found.Err() != nil && !tolerate {
		return nil, errors.New(r.text)
	}
	return &Scan{Result: found.Result, Json: r.json, Markdown: r.markdown, Report: r.text}, nil
}

// Image is one service's image as a container: to run, to scan or to export.
func (m *Slipway) Image(
	ctx context.Context,
	// Name of the service.
	service string,
	// Platform of the image; the engine's by default.
	//
	// +optional
	platform dagger.Platform,
	// Assemble a site without its base image: see build.
	//
	// +optional
	withoutBase bool,
) (*dagger.Container, error) {
	if platform == "" {
		var err error
		if platform, err = dag.DefaultPlatform(ctx); err != nil {
			return nil, fmt.Errorf("asking the engine for its platform: %w", err)
		}
	}
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	built, err := p.BuildImages(ctx, pipeline.ImageOptions{Services: []string{service}, Platforms: []string{string(platform)}, WithoutBase: withoutBase, RequireBase: true})
	if err != nil {
		return nil, err
	}
	archive, err := os.CreateTemp("", "slipway-image-*.tar")
	if err != nil {
		return nil, fmt.Errorf("making room for the image: %w", err)
	}
	defer os.Remove(archive.Name())
	if err := errors.Join(image.WriteArchive(archive, built[0]), archive.Close()); err != nil {
		return nil, err
	}
	file, err := handOver(ctx, filepath.Dir(archive.Name()))
	if err != nil {
		return nil, err
	}
	return dag.Container(dagger.ContainerOpts{Platform: platform}).Import(file.File(filepath.Base(archive.Name()))).Sync(ctx)
}

// Lock pins the images from elsewhere to the digests that their registries have now.
//
// It returns the lock file: export it to ci/images.lock.json.
//
// +cache="never"
func (m *Slipway) Lock(
	ctx context.Context,
	// Fail if the file is not up to date, instead of renewing it.
	//
	// +optional
	check bool,
) (*dagger.File, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	renewed, err := p.Lock(ctx, check)
	if err != nil {
		return nil, err
	}
	if check && renewed.Stale() {
		return nil, outcome.With(outcome.Failed, fmt.Errorf("%s is not up to date: run dagger call lock export --path=%s and commit it", image.LockFile, image.LockFile))
	}
	directory, err := handOver(ctx, filepath.Join(p.Dir, filepath.Dir(image.LockFile)))
	if err != nil {
		return nil, err
	}
	return directory.File(filepath.Base(image.LockFile)), nil
}
