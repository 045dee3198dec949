package delivery

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// publishJobs is how many images are published at a time. The registry client limits
// the uploads of all of them together.
const publishJobs = 8

// latestTag is the tag that moves to the image published last.
const latestTag = "latest"

// Destination is where images are published.
type Destination struct {
	Registry *registry.Registry
	// find checks that the repositories exist and looks up the images of a commit; nil
	// if the registry has no such API.
	find func(ctx context.Context, services []platform.Service, sha string) error
	// latestByRepository returns for each repository whether the tag latest may move.
	latestByRepository func(ctx context.Context, repositories []string) map[string]registry.LatestPolicy
}

// Destination returns the account's own registry. It refuses that of another account, which
// this one only pulls from.
func (a Account) Destination(ctx context.Context) (Destination, error) {
	if a.registryID != "" {
		return Destination{}, outcome.Refusedf("cannot publish to the registry of account %s (registry_account), which this environment only pulls from: publish in the environment of that account, or promote what it runs", a.registryID)
	}
	account := a.registry()
	r, err := account.Login(ctx)
	if err != nil {
		return Destination{}, err
	}
	return Destination{
		Registry: r,
		find: func(ctx context.Context, services []platform.Service, sha string) error {
			_, _, err := account.Find(ctx, services, sha)
			return err
		},
		latestByRepository: func(ctx context.Context, repositories []string) map[string]registry.LatestPolicy {
			movable, err := account.TagMutable(ctx, repositories, latestTag)
			byRepository := map[string]registry.LatestPolicy{}
			for _, name := range repositories {
				latest := registry.LatestPolicy{Move: movable[name], Reason: "repository " + name + " has immutable tags"}
				if err != nil {
					latest.Reason = awsauth.Explain(err).Error()
				}
				byRepository[name] = latest
			}
			return byRepository
		},
	}, nil
}

// ExternalRegistry returns any other registry by its address, HOST[/PREFIX]. It uses
// the login of Docker's configuration.
func ExternalRegistry(address string) (Destination, error) {
	r, err := registry.New(address, registry.Options{
		Keychain: authn.DefaultKeychain, RepositoryHint: "create it there, or use another with --registry HOST/PREFIX",
	})
	return Destination{Registry: r}, err
}

// PublishOptions are the options of [Delivery.Publish].
type PublishOptions struct {
	// SHA is the full commit id; "" means the tree's.
	SHA string
	// Platforms of the images; empty means all.
	Platforms []v1.Platform
	// LayoutDir is a directory of OCI layouts to publish instead of building; "" builds.
	LayoutDir string
	// Images are published instead of building them.
	Images []image.Image
	// Latest moves the tag latest, or leaves it; nil moves it if the registry reports
	// that it may move.
	Latest *bool
}

// Published reports what was published.
type Published struct {
	SHA      string           `json:"sha"`
	Registry string           `json:"registry"`
	Images   []PublishedImage `json:"images"`
}

// PublishedImage is the published image of one service.
type PublishedImage struct {
	Service   string   `json:"service"`
	Platforms []string `json:"platforms"`
	registry.Published
	// Baseless is the reason why the image has no base; absent if it has one.
	Baseless string `json:"baseless,omitempty"`
}

// Publish publishes the images of a commit. The tree must be clean and at that
// commit, unless the images are given and so is the commit.
func (d Delivery) Publish(ctx context.Context, to Destination, p PublishOptions) (Published, error) {
	defer to.Registry.Close()
	sha, err := d.commit(ctx, Options{SHA: p.SHA})
	if err != nil {
		return Published{}, err
	}
	published := Published{SHA: sha, Registry: to.Registry.Host}
	if to.find != nil { // before anything is built
		if err := to.find(ctx, d.Services, sha); err != nil {
			return published, awsauth.Explain(err)
		}
	}
	if err := d.checkLocked(to, d.Services); err != nil {
		return published, err
	}
	attest, err := d.attestor(ctx, to.Registry, sha)
	if err != nil {
		return published, err
	}
	images, err := d.imagesToPublish(ctx, to.Registry, sha, p)
	if err != nil {
		return published, err
	}
	err = d.stage("publish", func() (err error) {
		published.Images, err = d.publish(ctx, to, sha, images, attest, p.Latest)
		return err
	})
	return published, awsauth.Explain(err)
}

// checkLocked refuses services whose base image is not locked to a digest, unless the
// registry is on this machine. It is called before anything is built.
func (d Delivery) checkLocked(to Destination, services []platform.Service) error {
	if registry.IsLoopback(to.Registry.Host) {
		return nil
	}
	for _, service := range services {
		if unlocked := d.Lock.UnlockedBase(service); unlocked != "" {
			return outcome.Refusedf("publishing %s: %s", service.Name, unlocked)
		}
	}
	return nil
}

// imagesToPublish builds the images or reads their layouts.
func (d Delivery) imagesToPublish(ctx context.Context, to *registry.Registry, sha string, p PublishOptions) ([]image.Image, error) {
	if p.Images != nil {
		return p.Images, nil
	}
	if p.LayoutDir == "" {
		return d.build(ctx, to, sha, d.Services, p.Platforms, "publishing commit "+sha+" needs its files")
	}
	return ReadLayouts(p.LayoutDir, d.Services)
}

// ReadLayouts reads the OCI layouts that a build wrote to a directory.
func ReadLayouts(dir string, services []platform.Service) ([]image.Image, error) {
	var images []image.Image
	for _, s := range services {
		img, err := image.ReadLayout(dir, s)
		if err != nil {
			return nil, outcome.Usagef("%w: write it with slipway build --out %s", err, dir)
		}
		images = append(images, img)
	}
	return images, nil
}

// publish publishes images and tags them with the commit: one for each repository, which
// services may share.
func (d Delivery) publish(ctx context.Context, to Destination, sha string, images []image.Image, attest attestFunc, latest *bool) ([]PublishedImage, error) {
	if err := requireBase("publishing", to.Registry, images); err != nil { // before anything is sent
		return nil, err
	}
	move := to.latest(ctx, repositories(images), latest)
	published := make([]PublishedImage, len(images))
	first := map[string]int{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishJobs)
	for n, img := range images {
		if _, shared := first[img.Service.Repository()]; shared {
			continue
		}
		first[img.Service.Repository()] = n
		group.Go(func() (err error) {
			published[n], err = d.publishOne(ctx, to, sha, img, move, attest)
			return err
		})
	}
	err := group.Wait()
	for n, img := range images {
		if f := first[img.Service.Repository()]; f != n {
			published[n] = published[f]
			published[n].Service, published[n].UploadStats = img.Service.Name, registry.UploadStats{}
		}
	}
	return published, err
}

// requireBase refuses images without their base image, except for an embedded registry.
func requireBase(doing string, to *registry.Registry, images []image.Image) error {
	for _, img := range images {
		if img.MissingBase != "" && !registry.IsLoopback(to.Host) {
			return outcome.Refusedf("%s %s: %s, so the image %s", doing, img.Service.Name, img.MissingBase, img.WithoutBaseHint())
		}
	}
	return nil
}

func (d Delivery) publishOne(ctx context.Context, to Destination, sha string, img image.Image, move map[string]registry.LatestPolicy, attest attestFunc) (PublishedImage, error) {
	platforms, err := img.Platforms()
	if err != nil {
		return PublishedImage{}, err
	}
	repository := img.Service.Repository()
	publication := registry.Publication{
		Repository: repository, Tag: sha, Index: img.Index, Inputs: img.InputsTag(), Siblings: d.siblings(repository), Latest: move[repository],
	}
	if attest != nil {
		publication.BeforeTag = func(ctx context.Context) error { return attest(ctx, img) }
	}
	one, err := to.Registry.Publish(ctx, publication)
	if err != nil {
		return PublishedImage{}, fmt.Errorf("publishing %s: %w", img.Service.Name, err)
	}
	state := "was already published as "
	if one.Pushed {
		state = "published "
	}
	d.Recorder.Event(img.Service.Name, state+one.Digest)
	if img.MissingBase != "" {
		d.Recorder.Event(img.Service.Name, "is built without its base, for an embedded registry only: "+img.MissingBase)
	}
	return PublishedImage{Service: img.Service.Name, Platforms: platforms, Published: one, Baseless: img.MissingBase}, nil
}

// latest returns for each repository whether to move the tag latest: as requested, or
// else as the registry allows.
func (to Destination) latest(ctx context.Context, repositories []string, requested *bool) map[string]registry.LatestPolicy {
	byRepository := map[string]registry.LatestPolicy{}
	switch {
	case requested != nil && !*requested:
		for _, name := range repositories {
			byRepository[name] = registry.LatestPolicy{Reason: "--latest=false"}
		}
	case requested == nil && to.latestByRepository == nil:
		for _, name := range repositories {
			byRepository[name] = registry.LatestPolicy{Reason: "the registry does not report whether it may move: use --latest to try"}
		}
	case to.latestByRepository != nil:
		byRepository = to.latestByRepository(ctx, repositories)
		for name, latest := range byRepository {
			latest.Always = requested != nil
			byRepository[name] = latest
		}
	default:
		for _, name := range repositories {
			byRepository[name] = registry.LatestPolicy{Move: true, Always: true}
		}
	}
	return byRepository
}

func repositories(images []image.Image) []string {
	var names []string
	for _, img := range images {
		if name := img.Service.Repository(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// siblings returns the repositories of the other services.
func (d Delivery) siblings(repository string) []string {
	var names []string
	for _, s := range d.All {
		if name := s.Repository(); name != repository && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (d Delivery) stage(name string, run func() error) error {
	return d.Recorder.Stage(name, func() (report.Result, error) { return report.Succeeded, run() })
}
