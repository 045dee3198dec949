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

	"dagger/slipway/internal/attestation"
	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/provenance"
	"dagger/slipway/internal/signature"
)

// Attestations say what is attached to images when they are published.
type Attestations struct {
	// Off attaches nothing.
	Off bool
	// Signer signs what is attached, and the image; nil leaves both unsigned.
	Signer signature.Signer
	// Run is the run of a workflow that publishes; its zero value means what the
	// environment tells.
	Run provenance.Run
}

// attestor attaches to images of a commit what there is to say about them, before
// they have their tag: whoever finds an image by its commit finds that, too. What
// is there already stays as it is. It is nil where nothing is to be attached.
func (d Delivery) attestor(ctx context.Context, to attestation.Registry, sha string) (func(context.Context, image.Image) error, error) {
	if d.Attestations.Off {
		return nil, nil
	}
	build, err := d.origin(ctx, sha)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, img image.Image) error { return d.attestOne(ctx, to, build, img) }, nil
}

func (d Delivery) attestOne(ctx context.Context, to attestation.Registry, build provenance.Build, img image.Image) error {
	service := d.service(img.Service)
	build.Service = service.Name
	if service.Kind == platform.Nginx && img.Baseless == "" {
		pin := d.Lock.Images["nginx"]
		build.Bases = []provenance.Base{{Reference: pin.Reference, Digest: pin.Digest}}
	}
	attached, err := attestation.Attestor{Registry: to, Signer: d.Attestations.Signer}.Attest(ctx, attestation.Subject{
		Repository: service.Repository(), Name: service.Name, Index: img.Index, Build: build,
	})
	var kinds []string
	for _, a := range attached {
		kind := a.Kind
		if a.Signed && kind != attestation.Signature {
			kind = "signed " + kind
		}
		kinds = append(kinds, kind)
	}
	if len(kinds) > 0 {
		d.Recorder.Event(service.Name, "attached "+strings.Join(kinds, ", "))
	}
	return err
}

// origin is what is known of where a commit's images come from.
func (d Delivery) origin(ctx context.Context, sha string) (provenance.Build, error) {
	run := d.Attestations.Run
	if run == (provenance.Run{}) {
		run = provenance.RunOf(os.Getenv)
	}
	build := provenance.Build{Commit: sha, Run: run, Repository: run.Source(), Ref: run.Ref}
	if build.Repository != "" {
		return build, nil
	}
	origin, err := d.Source.Origin(ctx)
	build.Repository, build.Ref = origin.Repository, origin.Ref
	return build, err
}

// requireSigned refuses images that nobody trusted has signed; all of them are
// told.
func (d Delivery) requireSigned(ctx context.Context, images map[string]string, verifier *signature.Verifier) error {
	if verifier == nil {
		return nil
	}
	return d.stage("verify", func() error {
		checked, err := d.verify(ctx, images, verifier)
		if err != nil {
			return err
		}
		return checked.err()
	})
}

// Verify finds out which images of a commit somebody trusted has signed. One that
// is not signed is in the answer and makes an error, too: the guard's.
func (d Delivery) Verify(ctx context.Context, o Options) (Verification, error) {
	sha, err := d.version(ctx, o)
	if err != nil {
		return Verification{}, err
	}
	images, missing, err := d.find(ctx, sha)
	if err != nil {
		return Verification{SHA: sha}, awsauth.Explain(err)
	}
	if len(missing) > 0 {
		return Verification{SHA: sha}, fmt.Errorf("the registry has no image of commit %s for %s: publish it first", sha, strings.Join(missing, ", "))
	}
	checked, err := d.verify(ctx, images, o.Trust)
	checked.SHA = sha
	if err != nil {
		return checked, awsauth.Explain(err)
	}
	return checked, checked.err()
}

// verify looks at the signatures of images, by their references.
func (d Delivery) verify(ctx context.Context, images map[string]string, verifier *signature.Verifier) (Verification, error) {
	from, err := d.Account.registry().Login(ctx)
	if err != nil {
		return Verification{}, err
	}
	defer from.Close()
	checked := Verification{Trusts: verifier.Trusts(), Images: make([]VerifiedImage, len(d.Services))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishJobs)
	for n, service := range d.Services {
		group.Go(func() (err error) {
			checked.Images[n], err = verifyOne(ctx, from, service, images[service.Name], verifier)
			return err
		})
	}
	return checked, group.Wait()
}

func verifyOne(ctx context.Context, from attestation.Registry, service platform.Service, reference string, verifier *signature.Verifier) (VerifiedImage, error) {
	digest, err := digestOf(reference)
	if err != nil {
		return VerifiedImage{}, err
	}
	v := VerifiedImage{Service: service.Name, Image: reference}
	trusted, err := attestation.Verify(ctx, from, service.Repository(), digest, verifier)
	v.Statements = trusted.Statements
	if err != nil && outcome.Of(err) != outcome.Refused {
		return v, err
	}
	if err != nil {
		v.Error = err.Error()
	}
	v.Trusted = err == nil
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
