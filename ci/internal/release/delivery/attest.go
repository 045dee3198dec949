package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
)

// Attestations configures what is attached to published images.
type Attestations struct {
	// Off attaches nothing.
	Off bool
	// Signer signs what is attached, and the image; nil leaves both unsigned.
	Signer *supplychain.Signer
	// Run is the workflow run that publishes; the zero value means the one that the
	// environment describes.
	Run supplychain.Run
}

func (d Delivery) tools() supplychain.Tools {
	return supplychain.Tools{Exec: d.Exec, Image: d.Lock.Reference}
}

// attestFunc attaches attestations to an image; nil attaches nothing.
type attestFunc func(context.Context, image.Image) error

// attestor returns the function that attaches attestations to images of a commit, or
// nil if they are turned off. It is called before anything is built, so that a
// missing tool is reported first. Attestations are attached before the image is
// tagged, so that an image found by its commit has them; existing ones are kept. The
// SBOM is optional for a registry on this machine.
func (d Delivery) attestor(ctx context.Context, to *registry.Registry, sha string) (attestFunc, error) {
	if d.Attestations.Off {
		return nil, nil
	}
	a := supplychain.Attestor{Tools: d.tools(), Registry: to, Signer: d.Attestations.Signer}
	if registry.IsLoopback(to.Host) {
		if err := a.Tools.Require(ctx, tool.Syft); err != nil {
			d.Recorder.Event("", "no SBOM is attached: "+err.Error())
			a.NoSBOM = true
		}
	}
	if err := a.Require(ctx); err != nil {
		if missing := (*tool.MissingError)(nil); errors.As(err, &missing) {
			err = fmt.Errorf("%w; or publish without SBOM, provenance and signature (slipway publish --no-attest)", err)
		}
		return nil, err
	}
	build, err := d.origin(ctx, sha)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, img image.Image) error { return d.attestOne(ctx, a, build, img) }, nil
}

func (d Delivery) attestOne(ctx context.Context, a supplychain.Attestor, build supplychain.Build, img image.Image) error {
	service := img.Service
	build.Bases = img.Bases
	if service.Kind == platform.Nginx && img.MissingBase == "" { // also of a layout
		build.Bases = []image.Pin{d.Lock.Images["nginx"]}
	}
	attached, err := a.Attest(ctx, supplychain.Subject{Service: service.Name, Repository: service.Repository(), Index: img.Index}, build)
	if len(attached) > 0 {
		d.Recorder.Event(service.Name, "attached "+strings.Join(attached, ", "))
	}
	return err
}

// origin returns the source of a commit's images, for their provenance.
func (d Delivery) origin(ctx context.Context, sha string) (supplychain.Build, error) {
	run := d.Attestations.Run
	if run == (supplychain.Run{}) {
		run = supplychain.RunFromEnv(os.Getenv)
	}
	build := supplychain.Build{Commit: sha, Run: run, Repository: run.Source(), Ref: run.Ref}
	if build.Repository != "" {
		return build, nil
	}
	origin, err := d.Source.Origin(ctx)
	build.Repository, build.Ref = origin.Repository, origin.Ref
	return build, err
}
