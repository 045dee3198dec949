package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/registry"
	"dagger/slipway/internal/images/supplychain"
)

// Attestations say what is attached to images when they are published.
type Attestations struct {
	// Off attaches nothing.
	Off bool
	// Signer signs what is attached, and the image; nil leaves both unsigned.
	Signer *supplychain.Signer
	// Run is the run of a workflow that publishes; its zero value means what the
	// environment tells.
	Run supplychain.Run
}

func (d Delivery) tools() supplychain.Tools {
	return supplychain.Tools{Exec: d.Exec, Image: d.Lock.Reference}
}

// attestFunc attaches to an image what there is to say about it; nil attaches nothing.
type attestFunc func(context.Context, image.Image) error

// attestor attaches to images of a commit what there is to say about them, before
// they have their tag: whoever finds an image by its commit finds that, too. What
// is there already stays as it is. It is nil where nothing is to be attached. It is
// asked for before anything is built: a tool that is missing is told then. A
// registry on this machine does without a bill of materials.
func (d Delivery) attestor(ctx context.Context, to *registry.Registry, sha string) (attestFunc, error) {
	if d.Attestations.Off {
		return nil, nil
	}
	a := supplychain.Attestor{Tools: d.tools(), Registry: to, Signer: d.Attestations.Signer}
	if registry.IsLoopback(to.Host) {
		if err := a.Tools.Require(ctx, tool.Syft); err != nil {
			d.Recorder.Event("", "no bill of materials is attached: "+err.Error())
			a.NoSBOM = true
		}
	}
	if err := a.Require(ctx); err != nil {
		if missing := (*tool.MissingError)(nil); errors.As(err, &missing) {
			err = fmt.Errorf("%w; --no-attest publishes without bill of materials, provenance and signature", err)
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
	if service.Kind == platform.Nginx && img.Baseless == "" {
		build.Bases = []image.Pin{d.Lock.Images["nginx"]}
	}
	attached, err := a.Attest(ctx, supplychain.Subject{Service: service.Name, Repository: service.Repository(), Index: img.Index}, build)
	if len(attached) > 0 {
		d.Recorder.Event(service.Name, "attached "+strings.Join(attached, ", "))
	}
	return err
}

// origin is what is known of where a commit's images come from.
func (d Delivery) origin(ctx context.Context, sha string) (supplychain.Build, error) {
	run := d.Attestations.Run
	if run == (supplychain.Run{}) {
		run = supplychain.RunOf(os.Getenv)
	}
	build := supplychain.Build{Commit: sha, Run: run, Repository: run.Source(), Ref: run.Ref}
	if build.Repository != "" {
		return build, nil
	}
	origin, err := d.Source.Origin(ctx)
	build.Repository, build.Ref = origin.Repository, origin.Ref
	return build, err
}
