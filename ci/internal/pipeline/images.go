package pipeline

import (
	"context"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/release/delivery"
	"dagger/slipway/internal/report/outcome"
)

// Images say which images a stage is about.
type Images struct {
	// Services are their names; none means all.
	Services []string
	// Platforms to build for, such as linux/arm64; none means all that Fargate runs.
	Platforms []string
	// From is a folder of layouts that are taken instead of building; it may be empty.
	From string
	// Baseless assembles sites without their base, and asks no registry for it: good
	// for a rehearsal. Whole refuses a site whose base cannot be reached.
	Baseless, Whole bool
}

// Build builds images of what the tree holds, and writes their layouts to a folder.
func (p Pipeline) Build(ctx context.Context, which Images, out string) (image.Summary, error) {
	images, err := p.BuildImages(ctx, which)
	if err != nil {
		return image.Summary{}, err
	}
	if err := image.WriteLayouts(out, images); err != nil {
		return image.Summary{}, err
	}
	return image.Describe(images)
}

// BuildImages builds images of what the tree holds.
func (p Pipeline) BuildImages(ctx context.Context, which Images) ([]image.Image, error) {
	t, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	return p.images(ctx, t, which)
}

func (p Pipeline) images(ctx context.Context, t tree, which Images) (images []image.Image, err error) {
	services, err := t.platform.Select(which.Services...)
	if err != nil {
		return nil, err
	}
	if which.From != "" {
		return delivery.ReadLayouts(which.From, services)
	}
	builder := image.Builder{Source: t.Tree, Exec: p.exec(t.Tree, nil), Lock: t.lock, Cache: p.Cache, Offline: which.Baseless, Whole: which.Whole}
	if builder.Platforms, err = image.ParsePlatforms(which.Platforms); err != nil {
		return nil, err
	}
	return builder.Build(ctx, services)
}

// Publication says what is published, and where.
type Publication struct {
	Images
	// SHA is the full id of the commit; empty means the tree's.
	SHA string
	// Registry is HOST[/PREFIX]; empty means the account's own.
	Registry string
	// Latest moves the tag latest, or leaves it; nil means to move it where the
	// registry says that it may be.
	Latest *bool
}

// Publish publishes the images of a commit.
func (p Pipeline) Publish(ctx context.Context, what Publication) (delivery.Published, error) {
	platforms, err := image.ParsePlatforms(what.Platforms)
	if err != nil {
		return delivery.Published{}, err
	}
	d, err := p.read(ctx, what.Services, false)
	if err != nil {
		return delivery.Published{}, err
	}
	to, err := p.destination(ctx, what.Registry)
	if err != nil {
		return delivery.Published{}, awsauth.Explain(err)
	}
	return d.Publish(ctx, to, delivery.Publication{SHA: what.SHA, Platforms: platforms, From: what.From, Latest: what.Latest})
}

// destination is the registry with an address, or the account's own.
func (p Pipeline) destination(ctx context.Context, address string) (delivery.Destination, error) {
	if address != "" {
		return delivery.Elsewhere(address)
	}
	config, err := p.account(ctx)
	if err != nil {
		return delivery.Destination{}, err
	}
	return delivery.NewAccount(config).Destination(ctx)
}

// Scan says which images are scanned, and what fails.
type Scan struct {
	Images
	// SHA is the full id of a commit whose published images are scanned; empty means
	// what the tree builds.
	SHA string
	// FailOn is the severity that fails; see [supplychain.ParseThreshold].
	FailOn string
	// Exceptions is the file of accepted findings; empty means the tree's, if it has one.
	Exceptions string
}

// Scan looks for known vulnerabilities in images.
func (p Pipeline) Scan(ctx context.Context, what Scan) (found supplychain.Report, err error) {
	s := delivery.Scan{Exceptions: what.Exceptions}
	if s.FailOn, err = supplychain.ParseThreshold(what.FailOn); err != nil {
		return found, err
	}
	if s.Exceptions == "" {
		if s.Exceptions, err = supplychain.FindExceptions(p.Dir); err != nil {
			return found, err
		}
	}
	if what.SHA != "" {
		d, err := p.delivery(ctx, what.Services, true)
		if err != nil {
			return found, err
		}
		return d.ScanPublished(ctx, what.SHA, s)
	}
	t, err := p.open(ctx)
	if err != nil {
		return found, err
	}
	images, err := p.images(ctx, t, what.Images)
	if err != nil {
		return found, err
	}
	for _, img := range images {
		if img.Baseless != "" {
			return found, outcome.Refusedf("scanning %s: %s, and nothing would be found in it: build where the base's registry answers", img.Service.Name, img.Baseless)
		}
	}
	return delivery.ScanImages(ctx, p.exec(t.Tree, nil), t.lock, images, s)
}
