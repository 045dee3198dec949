package pipeline

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ImageOptions select images.
type ImageOptions struct {
	// Services are the names of services; none means all.
	Services []string
	// Platforms to build for, such as linux/arm64; none means all that Fargate supports.
	Platforms []string
	// From is a folder of OCI layouts to use instead of building; empty means to build.
	From string
	// WithoutBase builds sites without their base image and sends no request to its
	// registry: good for a rehearsal. RequireBase refuses a site whose base image cannot
	// be reached.
	WithoutBase, RequireBase bool
}

// Build builds images from the tree and writes their OCI layouts to a folder.
func (p Pipeline) Build(ctx context.Context, options ImageOptions, out string) (image.Summary, error) {
	images, err := p.BuildImages(ctx, options)
	if err != nil {
		return image.Summary{}, err
	}
	if err := image.WriteLayouts(out, images); err != nil {
		return image.Summary{}, err
	}
	return image.Describe(images)
}

// BuildImages builds images from the tree.
func (p Pipeline) BuildImages(ctx context.Context, options ImageOptions) ([]image.Image, error) {
	t, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	return p.images(ctx, t, options)
}

func (p Pipeline) images(ctx context.Context, t tree, options ImageOptions) (images []image.Image, err error) {
	services, err := t.platform.Select(options.Services...)
	if err != nil {
		return nil, err
	}
	if options.From != "" {
		return delivery.ReadLayouts(options.From, services)
	}
	builder := image.Builder{Source: t.Tree, Exec: p.exec(t.Tree, nil), Lock: t.lock, Cache: p.Cache, Offline: options.WithoutBase, RequireBase: options.RequireBase}
	if builder.Platforms, err = image.ParsePlatforms(options.Platforms); err != nil {
		return nil, err
	}
	return builder.Build(ctx, services)
}

// PublishOptions are the options of [Pipeline.Publish].
type PublishOptions struct {
	ImageOptions
	// SHA is the full id of the commit; empty means HEAD.
	SHA string
	// Registry is HOST[/PREFIX]; empty means the account's ECR registry.
	Registry string
	// Latest says whether to move the tag latest; nil means to move it if the registry
	// allows that.
	Latest *bool
}

// Publish publishes the images of a commit.
func (p Pipeline) Publish(ctx context.Context, options PublishOptions) (delivery.Published, error) {
	platforms, err := image.ParsePlatforms(options.Platforms)
	if err != nil {
		return delivery.Published{}, err
	}
	d, err := p.loadDelivery(ctx, options.Services, false)
	if err != nil {
		return delivery.Published{}, err
	}
	destination, err := p.registry(ctx, d.Environment, options.Registry)
	if err != nil {
		return delivery.Published{}, awsauth.Explain(err)
	}
	return d.Publish(ctx, destination, delivery.PublishOptions{SHA: options.SHA, Platforms: platforms, LayoutDir: options.From, Latest: options.Latest})
}

// registry returns the registry at an address, or the account's for "".
func (p Pipeline) registry(ctx context.Context, e platform.Environment, address string) (delivery.Destination, error) {
	if address != "" {
		return delivery.ExternalRegistry(address)
	}
	config, err := p.account(ctx, e)
	if err != nil {
		return delivery.Destination{}, err
	}
	return delivery.NewAccount(config).In(e).Destination(ctx)
}

// ScanOptions are the options of [Pipeline.Scan].
type ScanOptions struct {
	ImageOptions
	// SHA is the full id of a commit whose published images are scanned; empty means to
	// build the images from the tree.
	SHA string
	// FailOn is the lowest severity that fails; see [supplychain.ParseThreshold].
	FailOn string
	// Exceptions is the file of accepted findings; empty means that of the tree, if any.
	Exceptions string
}

// scan parses the configuration of a scan.
func (p Pipeline) scan(failOn, exceptions string) (s delivery.Scan, err error) {
	if s.FailOn, err = supplychain.ParseThreshold(failOn); err != nil {
		return s, err
	}
	if exceptions == "" {
		if exceptions, err = supplychain.FindExceptions(p.Dir); err != nil {
			return s, err
		}
	}
	s.Exceptions, err = supplychain.ReadExceptions(exceptions)
	return s, err
}

// Scan searches images for known vulnerabilities.
func (p Pipeline) Scan(ctx context.Context, options ScanOptions) (found supplychain.Report, err error) {
	s, err := p.scan(options.FailOn, options.Exceptions)
	if err != nil {
		return found, err
	}
	if options.SHA != "" {
		d, err := p.delivery(ctx, options.Services, true)
		if err != nil {
			return found, err
		}
		return d.ScanPublished(ctx, options.SHA, s)
	}
	t, err := p.open(ctx)
	if err != nil {
		return found, err
	}
	images, err := p.images(ctx, t, options.ImageOptions)
	if err != nil {
		return found, err
	}
	for _, img := range images {
		if img.MissingBase != "" {
			return found, outcome.Refusedf("scanning %s: %s, so the scan would find nothing in it: the image %s", img.Service.Name, img.MissingBase, img.WithoutBaseHint())
		}
	}
	return delivery.ScanImages(ctx, p.exec(t.Tree, nil), t.lock, images, s)
}
