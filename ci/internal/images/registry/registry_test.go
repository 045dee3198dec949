package registry_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/registry/registrytest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sha = "0123456789012345678901234567890123456789"

// fakeClock records sleeps instead of waiting.
type fakeClock struct {
	mu    sync.Mutex
	slept []time.Duration
}

func (*fakeClock) Now() time.Time { return time.Unix(1_700_000_000, 0) }

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	return context.Cause(ctx)
}

// fixture is an embedded AWS with repositories a, b and c, a fault-injecting proxy
// and a registry client.
type fixture struct {
	*localawstest.Platform
	proxy    *registrytest.Proxy
	clock    *fakeClock
	registry *registry.Registry
}

func setUp(t *testing.T, mutability ecrtypes.ImageTagMutability, change ...func(*registry.Options)) *fixture {
	t.Helper()
	f := &fixture{Platform: localawstest.Start(t, localaws.Options{}), clock: &fakeClock{}}
	f.proxy = registrytest.NewProxy(t, f.Server.Registry())
	for _, name := range []string{"a", "b", "c"} {
		_, err := f.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("repo/" + name), ImageTagMutability: mutability})
		require.NoError(t, err)
	}
	f.registry = f.open(change...)
	return f
}

// open returns a new registry client without cached state.
func (f *fixture) open(change ...func(*registry.Options)) *registry.Registry {
	f.Helper()
	o := registry.Options{Auth: f.Auth(), Clock: f.clock}
	for _, c := range change {
		c(&o)
	}
	r, err := registry.New(f.proxy.Host+"/repo", o)
	f.RequireNoError(err)
	f.Cleanup(r.Close)
	return r
}

// names returns the digest of a tag in a repository, or "".
func (f *fixture) names(repository, tag string) string {
	f.Helper()
	out, err := f.ECR.ListImages(f.Context(), &ecr.ListImagesInput{RepositoryName: aws.String("repo/" + repository)})
	f.RequireNoError(err)
	for _, id := range out.ImageIds {
		if aws.ToString(id.ImageTag) == tag {
			return *id.ImageDigest
		}
	}
	return ""
}

// index returns an index of two platforms that share the given layers.
func index(t *testing.T, layers ...v1.Layer) v1.ImageIndex {
	t.Helper()
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layers...)
		require.NoError(t, err)
		file, err := img.ConfigFile()
		require.NoError(t, err)
		file = file.DeepCopy()
		file.Architecture, file.OS = arch, "linux"
		img, err = mutate.ConfigFile(img, file)
		require.NoError(t, err)
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return all
}

// randomLayer returns a layer of random content.
func randomLayer(t *testing.T, size int64) v1.Layer {
	t.Helper()
	l, err := random.Layer(size, types.OCILayer)
	require.NoError(t, err)
	content, err := l.Compressed()
	require.NoError(t, err)
	defer content.Close()
	raw, err := io.ReadAll(content)
	require.NoError(t, err)
	return file{l, raw}
}

// file is a layer that is read on demand, as from a file.
type file struct {
	v1.Layer
	raw []byte
}

func (f file) Compressed() (io.ReadCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(f.raw), io.NopCloser(nil)}, nil
}

func digestOf(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := of.Digest()
	require.NoError(t, err)
	return h.String()
}

// artifact returns an artifact of a type with a subject.
func artifact(t *testing.T, subject v1.ImageIndex, kind, content string) v1.Image {
	t.Helper()
	hash, err := subject.Digest()
	require.NoError(t, err)
	size, err := subject.Size()
	require.NoError(t, err)
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(kind))
	img, err = mutate.AppendLayers(img, static.NewLayer([]byte(content), "application/json"))
	require.NoError(t, err)
	return mutate.Subject(img, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: hash, Size: size}).(v1.Image)
}

func TestAttach(t *testing.T) {
	for name, api := range map[string]bool{"with the referrers API": true, "without it": false} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
			image := index(t, randomLayer(t, 100))
			_, err := f.registry.Publish(t.Context(), registry.Publication{Repository: "a", Tag: sha, Index: image})
			require.NoError(t, err)
			if !api {
				f.proxy.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
					if strings.Contains(r.URL.Path, "/referrers/") {
						http.NotFound(w, r)
						return true
					}
					return false
				}
			}
			sbom, proof := artifact(t, image, "application/vnd.example.sbom", "{}"), artifact(t, image, "application/vnd.example.proof", "[]")
			digests, err := f.registry.Attach(t.Context(), "a", sbom, proof)
			require.NoError(t, err)
			require.Equal(t, []string{digestOf(t, sbom), digestOf(t, proof)}, []string{digests[0].String(), digests[1].String()})

			subject, err := image.Digest()
			require.NoError(t, err)
			found, err := f.registry.Referrers(t.Context(), "a", subject, "application/vnd.example.proof")
			require.NoError(t, err)
			require.Len(t, found, 1)
			layers, err := found[0].Layers()
			require.NoError(t, err)
			content, err := layers[0].Compressed()
			require.NoError(t, err)
			var got bytes.Buffer
			_, err = got.ReadFrom(content)
			require.NoError(t, err)
			require.NoError(t, content.Close())
			require.Equal(t, "[]", got.String())
			found, err = f.registry.Referrers(t.Context(), "a", subject, "")
			require.NoError(t, err)
			require.Len(t, found, 2)
			none, err := f.registry.Referrers(t.Context(), "b", subject, "")
			require.NoError(t, err)
			require.Empty(t, none)

			before := f.proxy.Writes()
			_, err = f.registry.Attach(t.Context(), "a", sbom, proof)
			require.NoError(t, err)
			require.Equal(t, before, f.proxy.Writes(), "what is there is not sent again")
		})
	}
}

func TestAttachWithoutSubject(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
	_, err := f.registry.Attach(t.Context(), "a", empty.Image)
	require.ErrorContains(t, err, "has no subject, so it could not be found")
	require.Zero(t, f.proxy.Writes())
}
