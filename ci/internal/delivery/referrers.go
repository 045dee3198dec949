package delivery

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dagger/slipway/internal/attestation"
	"dagger/slipway/internal/image"
)

// published is the registry, as far as images that are there are looked at.
type published interface {
	attestation.Registry
	// Index opens an image; its contents are read from the registry when they are
	// asked for, within ctx.
	Index(ctx context.Context, repository string, digest v1.Hash) (v1.ImageIndex, error)
}

// Deadlines of one exchange with the registry.
const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 30 * time.Second
)

// referrers are the artifacts in a registry that name an image as their subject.
type referrers struct {
	registry image.Registry
	carrier  *http.Transport
}

func newReferrers(registry image.Registry) referrers {
	carrier := remote.DefaultTransport.(*http.Transport).Clone()
	carrier.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	carrier.ResponseHeaderTimeout = answerTimeout
	return referrers{registry, carrier}
}

// close closes connections that are not in use.
func (r referrers) close() { r.carrier.CloseIdleConnections() }

func (r referrers) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuth(r.registry.Auth), remote.WithTransport(r.carrier)}
}

func (r referrers) digest(repository string, digest v1.Hash) (name.Digest, error) {
	reference, err := name.NewDigest(r.registry.Host + "/" + repository + "@" + digest.String())
	if err != nil {
		return reference, fmt.Errorf("naming an image of repository %s: %w", repository, err)
	}
	return reference, nil
}

// Attach fits attestation.Registry.
func (r referrers) Attach(ctx context.Context, repository string, artifacts ...v1.Image) ([]v1.Hash, error) {
	var digests []v1.Hash
	for _, artifact := range artifacts {
		digest, err := artifact.Digest()
		if err != nil {
			return digests, fmt.Errorf("reading an artifact for %s: %w", repository, err)
		}
		reference, err := r.digest(repository, digest)
		if err != nil {
			return digests, err
		}
		if err := remote.Write(reference, artifact, r.options(ctx)...); err != nil {
			return digests, fmt.Errorf("attaching an artifact in %s: %w", repository, err)
		}
		digests = append(digests, digest)
	}
	return digests, nil
}

// Referrers fits attestation.Registry.
func (r referrers) Referrers(ctx context.Context, repository string, subject v1.Hash, artifactType string) ([]v1.Image, error) {
	reference, err := r.digest(repository, subject)
	if err != nil {
		return nil, err
	}
	options := r.options(ctx)
	if artifactType != "" {
		options = append(options, remote.WithFilter("artifactType", artifactType))
	}
	index, err := remote.Referrers(reference, options...)
	if err != nil {
		return nil, fmt.Errorf("listing what is attached to %s: %w", reference, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("listing what is attached to %s: %w", reference, err)
	}
	var artifacts []v1.Image
	for _, descriptor := range manifest.Manifests {
		artifact, err := remote.Image(reference.Context().Digest(descriptor.Digest.String()), r.options(ctx)...)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", descriptor.Digest, err)
		}
		artifacts = append(artifacts, artifact)
	}
	return artifacts, nil
}

// Index fits published.
func (r referrers) Index(ctx context.Context, repository string, digest v1.Hash) (v1.ImageIndex, error) {
	reference, err := r.digest(repository, digest)
	if err != nil {
		return nil, err
	}
	index, err := remote.Index(reference, r.options(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", reference, err)
	}
	return index, nil
}
