package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/registry"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/report/outcome"
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

// attesting attaches to an image what there is to say about it; nil attaches nothing.
type attesting func(context.Context, image.Image) error

// attestor attaches to images of a commit what there is to say about them, before
// they have their tag: whoever finds an image by its commit finds that, too. What
// is there already stays as it is. It is nil where nothing is to be attached. It is
// asked for before anything is built: a tool that is missing is told then. A
// registry on this machine does without a bill of materials.
func (d Delivery) attestor(ctx context.Context, to *registry.Registry, sha string) (attesting, error) {
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
	if service.Kind == platform.Nginx && img.MissingBase == "" {
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

// canVerify refuses, before anything is changed, to look for signatures without the
// tool for it.
func (d Delivery) canVerify(ctx context.Context, trust *supplychain.Trust) error {
	if trust == nil {
		return nil
	}
	if err := trust.Check(); err != nil {
		return err
	}
	return d.tools().Require(ctx, tool.Cosign)
}

// requireSigned refuses images that nobody trusted has signed; all of them are
// told.
func (d Delivery) requireSigned(ctx context.Context, images map[string]string, trust *supplychain.Trust) error {
	if trust == nil {
		return nil
	}
	return d.stage("verify", func() error {
		checked, err := d.verify(ctx, images, *trust)
		if err != nil {
			return err
		}
		return checked.err()
	})
}

// Verify finds out which images of a commit somebody trusted has signed. One that
// is not signed is in the answer and makes an error, too: the guard's.
func (d Delivery) Verify(ctx context.Context, o Options) (Verification, error) {
	if err := d.canVerify(ctx, o.Trust); err != nil {
		return Verification{}, err
	}
	sha, err := d.version(ctx, o)
	if err != nil {
		return Verification{}, err
	}
	images, err := d.published(ctx, sha, "publish it first")
	if err != nil {
		return Verification{SHA: sha}, awsauth.Explain(err)
	}
	checked, err := d.verify(ctx, images, *o.Trust)
	if err != nil { // what could not be found out is no refusal
		return Verification{SHA: sha}, awsauth.Explain(err)
	}
	checked.SHA = sha
	return checked, checked.err()
}

// verify looks at the signatures of images, by their references.
func (d Delivery) verify(ctx context.Context, images map[string]string, trust supplychain.Trust) (Verification, error) {
	from, err := d.Account.registry().Login(ctx)
	if err != nil {
		return Verification{}, err
	}
	defer from.Close()
	checked := Verification{Trusts: trust.String(), Images: make([]VerifiedImage, len(d.Services))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishJobs)
	for n, service := range d.Services {
		group.Go(func() (err error) {
			checked.Images[n], err = d.verifyOne(ctx, from, service, images[service.Name], trust)
			return err
		})
	}
	return checked, group.Wait()
}

func (d Delivery) verifyOne(ctx context.Context, from *registry.Registry, service platform.Service, reference string, trust supplychain.Trust) (VerifiedImage, error) {
	v := VerifiedImage{Service: service.Name, Image: reference}
	digest, err := digestOf(reference)
	if err != nil {
		return v, err
	}
	err = d.tools().Verify(ctx, from, service.Repository(), digest, trust)
	switch {
	case err == nil:
		v.Trusted = true
	case outcome.Of(err) != outcome.Refused:
		return v, err
	default:
		v.Error = err.Error()
	}
	return v, nil
}

func digestOf(reference string) (v1.Hash, error) {
	parsed, err := name.NewDigest(reference)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading the reference %s: %w", reference, err)
	}
	digest, err := v1.NewHash(parsed.DigestStr())
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading the reference %s: %w", reference, err)
	}
	return digest, nil
}

// err is the refusal of all images that are not trusted.
func (v Verification) err() error {
	var refusals []error
	for _, img := range v.Images {
		if !img.Trusted {
			refusals = append(refusals, errors.New(img.Error))
		}
	}
	return outcome.With(outcome.Refused, errors.Join(refusals...))
}
