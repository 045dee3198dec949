package delivery

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/registry"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// publishJobs is how many images are published at a time. What they send is
// bounded by the registry, for all of them together.
const publishJobs = 8

// latestTag is the tag that follows what was published last.
const latestTag = "latest"

// Destination is where images are published.
type Destination struct {
	Registry *registry.Registry
	// find looks for the images of a commit, and for the repositories first; nil
	// where the registry cannot tell.
	find func(ctx context.Context, services []platform.Service, sha string) error
	// movable tells of each repository what shall become of the tag latest.
	movable func(ctx context.Context, repositories []string) map[string]registry.Latest
}

// Destination is the account's own registry.
func (a Account) Destination(ctx context.Context) (Destination, error) {
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
		movable: func(ctx context.Context, repositories []string) map[string]registry.Latest {
			movable, err := account.Movable(ctx, repositories, latestTag)
			answers := map[string]registry.Latest{}
			for _, name := range repositories {
				latest := registry.Latest{Move: movable[name], Reason: "repository " + name + " does not let it move"}
				if err != nil {
					latest.Reason = awsauth.Explain(err).Error()
				}
				answers[name] = latest
			}
			return answers
		},
	}, nil
}

// Elsewhere is any other registry, by its address HOST[/PREFIX]. The login is that
// of Docker's configuration.
func Elsewhere(address string) (Destination, error) {
	r, err := registry.New(address, registry.Options{
		Keychain: authn.DefaultKeychain, NoRepository: "create it there, or name another with --registry HOST/PREFIX",
	})
	return Destination{Registry: r}, err
}

// Publication says what is published, and how.
type Publication struct {
	// SHA is the full id of the commit; empty means the tree's.
	SHA string
	// Platforms of the images; none means all.
	Platforms []v1.Platform
	// From is a folder of layouts that are published instead of what the tree
	// makes; it may be empty.
	From string
	// Images are published instead of what the tree makes; none means that it makes them.
	Images []image.Image
	// Latest moves the tag latest, or leaves it; nil means to move it where the
	// registry says that it may be.
	Latest *bool
}

// Published is what was published.
type Published struct {
	SHA      string           `json:"sha"`
	Registry string           `json:"registry"`
	Images   []PublishedImage `json:"images"`
}

// PublishedImage is one service's part of what was published.
type PublishedImage struct {
	Service   string   `json:"service"`
	Platforms []string `json:"platforms"`
	registry.Published
	// Baseless says why the image lacks its base; absent when it is complete.
	Baseless string `json:"baseless,omitempty"`
}

// Publish publishes the images of a commit. The tree must be clean and at that
// commit, unless the images are from layouts and the commit is named.
func (d Delivery) Publish(ctx context.Context, to Destination, p Publication) (Published, error) {
	defer to.Registry.Close()
	sha, err := d.version(ctx, Options{SHA: p.SHA})
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
	images, err := d.from(ctx, sha, p)
	if err != nil {
		return published, err
	}
	err = d.stage("publish", func() (err error) {
		published.Images, err = d.publish(ctx, to, sha, images, attest, p.Latest)
		return err
	})
	return published, awsauth.Explain(err)
}

// checkLocked refuses services whose base is not locked: what leaves this machine must
// be what was reviewed. It is asked before anything is built.
func (d Delivery) checkLocked(to Destination, services []platform.Service) error {
	if registry.IsLoopback(to.Registry.Host) {
		return nil
	}
	for _, service := range services {
		if unlocked := d.Lock.Unlocked(service); unlocked != "" {
			return outcome.Refusedf("publishing %s: %s", service.Name, unlocked)
		}
	}
	return nil
}

// from makes the images, or reads them.
func (d Delivery) from(ctx context.Context, sha string, p Publication) ([]image.Image, error) {
	if p.Images != nil {
		return p.Images, nil
	}
	if p.From == "" {
		return d.build(ctx, sha, d.Services, p.Platforms, "to publish commit "+sha+" its files are needed")
	}
	return ReadLayouts(p.From, d.Services)
}

// ReadLayouts reads the layouts that a build wrote to a folder.
func ReadLayouts(dir string, services []platform.Service) ([]image.Image, error) {
	var images []image.Image
	for _, s := range services {
		img, err := image.ReadLayout(dir, s)
		if err != nil {
			return nil, outcome.Usagef("%w: slipway build --out %s writes it", err, dir)
		}
		images = append(images, img)
	}
	return images, nil
}

// publish publishes images of d's services under a commit.
func (d Delivery) publish(ctx context.Context, to Destination, sha string, images []image.Image, attest attesting, latest *bool) ([]PublishedImage, error) {
	if err := whole("publishing", to.Registry, images); err != nil { // before anything is sent
		return nil, err
	}
	move := to.latest(ctx, repositories(images), latest)
	published := make([]PublishedImage, len(images))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishJobs)
	for n, img := range images {
		group.Go(func() (err error) {
			published[n], err = d.publishOne(ctx, to, sha, img, move, attest)
			return err
		})
	}
	return published, group.Wait()
}

// whole refuses images without their base, but for an embedded registry.
func whole(doing string, to *registry.Registry, images []image.Image) error {
	for _, img := range images {
		if img.Baseless != "" && !registry.IsLoopback(to.Host) {
			return outcome.Refusedf("%s %s: %s, so nothing in it can serve the site: build where the base's registry answers", doing, img.Service.Name, img.Baseless)
		}
	}
	return nil
}

func (d Delivery) publishOne(ctx context.Context, to Destination, sha string, img image.Image, move map[string]registry.Latest, attest attesting) (PublishedImage, error) {
	platforms, err := img.Platforms()
	if err != nil {
		return PublishedImage{}, err
	}
	repository := img.Service.Repository()
	publication := registry.Publication{
		Repository: repository, Tag: sha, Index: img.Index, Siblings: d.siblings(repository), Latest: move[repository],
	}
	if attest != nil {
		publication.BeforeTag = func(ctx context.Context) error { return attest(ctx, img) }
	}
	one, err := to.Registry.Publish(ctx, publication)
	if err != nil {
		return PublishedImage{}, fmt.Errorf("publishing %s: %w", img.Service.Name, err)
	}
	state := "has been published before as "
	if one.Pushed {
		state = "published "
	}
	d.Recorder.Event(img.Service.Name, state+one.Digest)
	if img.Baseless != "" {
		d.Recorder.Event(img.Service.Name, "is built without its base, for an embedded registry only: "+img.Baseless)
	}
	return PublishedImage{Service: img.Service.Name, Platforms: platforms, Published: one, Baseless: img.Baseless}, nil
}

// latest says by repository what shall become of the tag latest: what somebody
// asked for, else what the registry says that may be.
func (to Destination) latest(ctx context.Context, repositories []string, asked *bool) map[string]registry.Latest {
	answers := map[string]registry.Latest{}
	switch {
	case asked != nil && !*asked:
		for _, name := range repositories {
			answers[name] = registry.Latest{Reason: "--latest=false"}
		}
	case asked == nil && to.movable == nil:
		for _, name := range repositories {
			answers[name] = registry.Latest{Reason: "the registry does not say whether it may move: --latest tries"}
		}
	case to.movable != nil:
		answers = to.movable(ctx, repositories)
		for name, latest := range answers {
			latest.Always = asked != nil
			answers[name] = latest
		}
	default:
		for _, name := range repositories {
			answers[name] = registry.Latest{Move: true, Always: true}
		}
	}
	return answers
}

func repositories(images []image.Image) []string {
	var names []string
	for _, img := range images {
		names = append(names, img.Service.Repository())
	}
	return names
}

// siblings are the repositories of the other services.
func (d Delivery) siblings(repository string) []string {
	var names []string
	for _, s := range d.All {
		if s.Repository() != repository {
			names = append(names, s.Repository())
		}
	}
	return names
}

func (d Delivery) stage(name string, run func() error) error {
	return d.Recorder.Stage(name, func() (report.Result, error) { return report.Succeeded, run() })
}
