package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Build builds the images of the services.
//
// It returns an OCI image layout for each service, in a folder with its name, and images.json with
// the digests. The same source gives the same digests on any machine.
func (m *Slipway) Build(
	ctx context.Context,
	// Build only these services.
	//
	// +optional
	services []string,
	// Platforms, such as linux/arm64. Default: linux/amd64 and linux/arm64.
	//
	// +optional
	platforms []string,
	// Build sites without their base image: for a rehearsal only. Otherwise the build
	// fails if the registry of the base image cannot be reached.
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
		return nil, fmt.Errorf("creating the directory of the layouts: %w", err)
	}
	built, err := p.Build(ctx, pipeline.ImageOptions{Services: services, Platforms: platforms, WithoutBase: withoutBase, RequireBase: true}, out)
	if err != nil {
		return nil, err
	}
	for _, note := range built.Notes() {
		fmt.Fprintln(os.Stderr, note)
	}
	r, err := render(built)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(out, "images.json"), []byte(r.json), 0o644); err != nil {
		return nil, err
	}
	return exportDirectory(ctx, out)
}

// Published is the result of a publish.
type Published struct {
	// Json is the result for programs.
	Json string
	// Markdown is the result for a job summary.
	Markdown string
	// Report is the result for a terminal.
	Report string
}

// Publish publishes the images of a commit, with SBOM, provenance and signature.
//
// The tree must be clean and at that commit. It never moves a commit's tag.
//
// +cache="never"
func (m *Slipway) Publish(
	ctx context.Context,
	// Full id of the commit. Default: the commit of the tree.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// Sign with the identity of the GitHub Actions job, if its token was given.
	// Sigstore's public log then shows the workflow's name.
	//
	// +default=true
	keyless bool,
) (*Published, error) {
	_, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (found delivery.Published, err error) {
		if p.Attestations, err = m.Account.attestations(ctx, keyless); err != nil {
			return found, err
		}
		return p.Publish(ctx, pipeline.PublishOptions{ImageOptions: pipeline.ImageOptions{Services: services}, SHA: sha})
	})
	return &Published{Json: r.json, Markdown: r.markdown, Report: r.text}, err
}

// Scan is a report of known vulnerabilities in images.
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

// Scan finds known vulnerabilities in the images of the services, with Trivy.
//
// It scans the images that the tree builds. With sha it scans published images and includes the
// findings of Amazon ECR. It fails with all findings, except those accepted in .trivyignore.yaml.
//
// +cache="never"
func (m *Slipway) Scan(
	ctx context.Context,
	// Full id of a commit: scan its published images.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// Lowest severity that fails: critical, high, medium, low or none.
	//
	// +default="high"
	failOn string,
	// Return the report even if there are findings.
	//
	// +optional
	tolerate bool,
) (*Scan, error) {
	found, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (supplychain.Report, error) {
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

// Image returns the image of one service as a container, to run, scan or export.
func (m *Slipway) Image(
	ctx context.Context,
	// Name of the service.
	service string,
	// Platform of the image. Default: the platform of the engine.
	//
	// +optional
	platform dagger.Platform,
	// Build a site without its base image: see build.
	//
	// +optional
	withoutBase bool,
) (*dagger.Container, error) {
	if platform == "" {
		var err error
		if platform, err = dag.DefaultPlatform(ctx); err != nil {
			return nil, fmt.Errorf("getting the platform of the engine: %w", err)
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
		return nil, fmt.Errorf("creating the image archive: %w", err)
	}
	defer os.Remove(archive.Name())
	if err := errors.Join(image.WriteArchive(archive, built[0]), archive.Close()); err != nil {
		return nil, err
	}
	file, err := exportDirectory(ctx, filepath.Dir(archive.Name()))
	if err != nil {
		return nil, err
	}
	return dag.Container(dagger.ContainerOpts{Platform: platform}).Import(file.File(filepath.Base(archive.Name()))).Sync(ctx)
}

// Lock updates the digests of the base images and of the tools' images.
//
// It returns the lock file: export it to ci/images.lock.json. A tree without that file uses the images
// that are built into slipway, and needs none.
//
// +cache="never"
func (m *Slipway) Lock(
	ctx context.Context,
	// Fail if the file is not up to date, instead of updating it.
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
	directory, err := exportDirectory(ctx, filepath.Join(p.Dir, filepath.Dir(image.LockFile)))
	if err != nil {
		return nil, err
	}
	return directory.File(filepath.Base(image.LockFile)), nil
}
