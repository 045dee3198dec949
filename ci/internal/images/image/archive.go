package image

import (
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// WriteArchive writes the image of img's first platform as an archive that
// container engines import (docker load).
func WriteArchive(w io.Writer, img Image) error {
	manifest, err := img.Index.IndexManifest()
	if err != nil {
		return fmt.Errorf("writing an archive of %s: %w", img.Service.Name, err)
	}
	if len(manifest.Manifests) == 0 {
		return fmt.Errorf("writing an archive of %s: it has no platform", img.Service.Name)
	}
	child, err := img.Index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return fmt.Errorf("writing an archive of %s: %w", img.Service.Name, err)
	}
	reference, err := name.NewTag(img.Service.Name + ":slipway")
	if err != nil {
		return fmt.Errorf("writing an archive of %s: %w", img.Service.Name, err)
	}
	if err := tarball.Write(reference, child, w); err != nil {
		return fmt.Errorf("writing an archive of %s: %w", img.Service.Name, err)
	}
	return nil
}
