// Package inspect tells what is in an image, and what two images differ in,
// file by file.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"dagger/slipway/internal/outcome"
)

// Image is an image for one platform or for several.
type Image struct {
	// Name is what it was opened by.
	Name        string
	Digest      v1.Hash
	Annotations map[string]string
	children    []child
}

// child is the image for one platform.
type child struct {
	platform string
	image    v1.Image
}

// Opener finds images.
type Opener struct {
	// Built is the folder of the layouts that a build wrote, one a service.
	Built string
	// Transport carries requests to registries.
	Transport http.RoundTripper
}

// plain matches what can only be the name of a service.
var plain = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// Open opens the image that what names: the folder of an OCI image layout, a
// service that was built, or a reference into a registry, which is asked as
// whoever docker login logged in there.
func (o Opener) Open(ctx context.Context, what string) (Image, error) {
	for _, dir := range []string{what, filepath.Join(o.Built, what)} {
		_, err := os.Stat(filepath.Join(dir, "index.json"))
		if err == nil {
			return openLayout(dir, what)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && plain.MatchString(what) {
			return Image{}, outcome.Usagef("opening %s: %w", dir, err)
		}
	}
	if plain.MatchString(what) {
		return Image{}, outcome.Usagef("no image %q below %s: build it with slipway build --service %s, or give the folder of a layout or a reference such as registry/repository:tag", what, o.Built, what)
	}
	if _, err := os.Stat(what); err == nil {
		return Image{}, outcome.Usagef("%s is no OCI image layout: it has no index.json", what)
	}
	ref, err := name.ParseReference(what)
	if err != nil {
		return Image{}, outcome.Usagef("%q is neither the folder of a layout, nor a service that was built, nor a reference such as registry/repository:tag", what)
	}
	held, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(o.Transport),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Steps: 2}))
	if err != nil {
		return Image{}, describe(ctx, ref, err)
	}
	if !held.MediaType.IsIndex() {
		img, err := held.Image()
		if err != nil {
			return Image{}, describe(ctx, ref, err)
		}
		return single(what, img)
	}
	index, err := held.ImageIndex()
	if err != nil {
		return Image{}, describe(ctx, ref, err)
	}
	return several(what, index)
}

// describe says in one line why a registry did not give an image.
func describe(ctx context.Context, ref name.Reference, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("opening %s: %w", ref, context.Cause(ctx))
	}
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("opening %s: its registry has no such image", ref)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("opening %s: %s", ref, first)
}

func openLayout(dir, what string) (Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout %s: %w", dir, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout %s: %w", dir, err)
	}
	if len(manifest.Manifests) != 1 {
		return several(what, index)
	}
	// The layout's own index only points to the image.
	only := manifest.Manifests[0]
	if only.MediaType.IsIndex() {
		if index, err = index.ImageIndex(only.Digest); err != nil {
			return Image{}, fmt.Errorf("opening the layout %s: %w", dir, err)
		}
		return several(what, index)
	}
	img, err := index.Image(only.Digest)
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout %s: %w", dir, err)
	}
	return single(what, img)
}

func single(what string, img v1.Image) (Image, error) {
	digest, err := img.Digest()
	if err != nil {
		return Image{}, fmt.Errorf("opening %s: %w", what, err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		return Image{}, fmt.Errorf("opening %s: %w", what, err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return Image{}, fmt.Errorf("opening %s: %w", what, err)
	}
	return Image{what, digest, manifest.Annotations, []child{{file.Platform().String(), img}}}, nil
}

func several(what string, index v1.ImageIndex) (Image, error) {
	digest, err := index.Digest()
	if err != nil {
		return Image{}, fmt.Errorf("opening %s: %w", what, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Image{}, fmt.Errorf("opening %s: %w", what, err)
	}
	opened := Image{Name: what, Digest: digest, Annotations: manifest.Annotations}
	for _, descriptor := range manifest.Manifests {
		// What is attached to images has the platform unknown/unknown.
		if !descriptor.MediaType.IsImage() || descriptor.Platform != nil && descriptor.Platform.OS == "unknown" {
			continue
		}
		img, err := index.Image(descriptor.Digest)
		if err != nil {
			return Image{}, fmt.Errorf("opening %s: %w", what, err)
		}
		platform := descriptor.Platform
		if platform == nil {
			file, err := img.ConfigFile()
			if err != nil {
				return Image{}, fmt.Errorf("opening %s: %w", what, err)
			}
			platform = file.Platform()
		}
		opened.children = append(opened.children, child{platform.String(), img})
	}
	if len(opened.children) == 0 {
		return Image{}, fmt.Errorf("opening %s: there is no image in it", what)
	}
	return opened, nil
}

// Only is the image for one platform alone; one that it lacks is a usage error.
func (i Image) Only(platform string) (Image, error) {
	var has []string
	for _, c := range i.children {
		if c.platform == platform {
			i.children = []child{c}
			return i, nil
		}
		has = append(has, c.platform)
	}
	return Image{}, outcome.Usagef("%s has no image for %s: it has %s", i.Name, platform, strings.Join(has, ", "))
}
