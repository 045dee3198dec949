package registry

import (
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image opens an image of a repository. An index is resolved to the first of the
// platforms that it has.
func (s *Store) Image(repo, reference string, platforms []v1.Platform) (v1.Image, error) {
	m, err := s.Manifest(repo, reference)
	if err != nil {
		return nil, err
	}
	if types.MediaType(m.MediaType).IsIndex() {
		if m, err = s.selectPlatform(repo, m, platforms); err != nil {
			return nil, err
		}
	}
	if m.parsed.Config == nil {
		return nil, fmt.Errorf("%w: %s is not an image", ErrManifestInvalid, m.MediaType)
	}
	img, err := partial.CompressedToImage(storedImage{s, m})
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", m.Digest, err)
	}
	return img, checkPlatform(img, platforms)
}

// checkPlatform returns an error unless an image is for one of the platforms. An image
// without a platform is for all of them.
func checkPlatform(img v1.Image, platforms []v1.Platform) error {
	config, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("reading an image's configuration: %w", err)
	}
	for _, want := range platforms {
		if config.OS == "" && config.Architecture == "" || config.OS == want.OS && config.Architecture == want.Architecture {
			return nil
		}
	}
	return PlatformError{platforms[0]}
}

// PlatformError reports that an index has no image for the wanted platforms.
type PlatformError struct{ Wanted v1.Platform }

func (e PlatformError) Error() string {
	return fmt.Sprintf("image Manifest does not contain descriptor matching platform '%s/%s'", e.Wanted.OS, e.Wanted.Architecture)
}

func (s *Store) selectPlatform(repo string, index *Manifest, platforms []v1.Platform) (*Manifest, error) {
	for _, want := range platforms {
		for _, d := range index.parsed.Manifests {
			if d.Platform != nil && d.Platform.OS == want.OS && d.Platform.Architecture == want.Architecture {
				return s.Manifest(repo, d.Digest.String())
			}
		}
	}
	return nil, PlatformError{platforms[0]}
}

// ParseReference returns the repository and the tag or digest of an image reference. ok
// is false unless its host is this registry's address or the account's ECR host name.
func (s *Store) ParseReference(ref string) (repo, reference string, ok bool) {
	for _, host := range []string{s.host, s.scope.Account + ".dkr.ecr." + s.scope.Region + ".amazonaws.com"} {
		rest, found := strings.CutPrefix(ref, host+"/")
		if !found {
			continue
		}
		if name, digest, pinned := strings.Cut(rest, "@"); pinned {
			name, _, _ = strings.Cut(name, ":")
			return name, digest, true
		}
		name, tag, tagged := strings.Cut(rest, ":")
		if !tagged {
			tag = "latest"
		}
		return name, tag, true
	}
	return "", "", false
}

// storedImage provides an image of the store to go-containerregistry.
type storedImage struct {
	store    *Store
	manifest *Manifest
}

func (i storedImage) RawManifest() ([]byte, error) { return i.manifest.Raw, nil }

func (i storedImage) MediaType() (types.MediaType, error) {
	return types.MediaType(i.manifest.MediaType), nil
}

func (i storedImage) RawConfigFile() ([]byte, error) {
	f, err := i.store.Blob(i.manifest.parsed.Config.Digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (i storedImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range i.manifest.parsed.Layers {
		if d.Digest == h {
			return storedLayer{i.store, d}, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrBlobUnknown, h)
}

type storedLayer struct {
	store      *Store
	descriptor v1.Descriptor
}

func (l storedLayer) Digest() (v1.Hash, error)            { return l.descriptor.Digest, nil }
func (l storedLayer) Size() (int64, error)                { return l.descriptor.Size, nil }
func (l storedLayer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }
func (l storedLayer) Compressed() (io.ReadCloser, error)  { return l.store.Blob(l.descriptor.Digest) }
