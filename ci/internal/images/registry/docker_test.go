package registry_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/registry/registrytest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// TestDockerRegistry: publishing works with Docker's registry as well, which has no
// referrers API.
func TestDockerRegistry(t *testing.T) {
	proxy := registrytest.NewProxy(t, registrytest.StartDocker(t))
	open := func() *registry.Registry {
		r, err := registry.New(proxy.Host+"/team", registry.Options{Clock: &fakeClock{}})
		require.NoError(t, err)
		t.Cleanup(r.Close)
		return r
	}
	base := randomLayer(t, 100_000)
	image := index(t, base, randomLayer(t, 3000))
	first, err := open().Publish(t.Context(), publication(image))
	require.NoError(t, err)
	require.True(t, first.Pushed)
	require.Equal(t, int64(4), first.Blobs)

	t.Run("a second time sends nothing", func(t *testing.T) {
		proxy.Reset()
		again, err := open().Publish(t.Context(), publication(image))
		require.NoError(t, err)
		require.Zero(t, again.UploadStats)
		require.Zero(t, proxy.Writes())
	})
	t.Run("a tag is never moved, and latest is", func(t *testing.T) {
		_, err := open().Publish(t.Context(), publication(index(t, base)))
		require.Equal(t, outcome.Refused, outcome.Of(err))
		p := publication(image)
		p.Latest = registry.LatestPolicy{Move: true, Always: true}
		got, err := open().Publish(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, registry.LatestMoved, got.Latest.Result)
	})
	t.Run("a base is mounted", func(t *testing.T) {
		got, err := open().Publish(t.Context(), registry.Publication{Repository: "b", Tag: sha, Index: index(t, base, randomLayer(t, 100)), Siblings: []string{"none", "a"}})
		require.NoError(t, err)
		require.Equal(t, int64(1), got.Mounted)
		require.Equal(t, int64(3), got.Blobs)
	})
	t.Run("an interrupted upload is restarted", func(t *testing.T) {
		var broken atomic.Bool
		proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch && r.ContentLength > 500_000 && broken.CompareAndSwap(false, true) {
				r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, 400_000), failing{}))
			}
			return false
		}
		large := index(t, randomLayer(t, 1_000_000))
		_, err := open().Publish(t.Context(), registry.Publication{Repository: "c", Tag: sha, Index: large})
		require.NoError(t, err)
		require.True(t, broken.Load())
		at, err := name.ParseReference(proxy.Host + "/team/c:" + sha)
		require.NoError(t, err)
		carrier := &http.Transport{}
		defer carrier.CloseIdleConnections()
		back, err := remote.Index(at, remote.WithTransport(carrier))
		require.NoError(t, err)
		require.NoError(t, validate.Index(back))
	})
	t.Run("artifacts are attached", func(t *testing.T) {
		proxy.Reset()
		r := open()
		sbom, proof := artifact(t, image, "application/vnd.example.sbom", "{}"), artifact(t, image, "application/vnd.example.proof", "[]")
		_, err := r.Attach(t.Context(), "a", sbom, proof)
		require.NoError(t, err)
		subject, err := v1.NewHash(first.Digest)
		require.NoError(t, err)
		found, err := r.Referrers(t.Context(), "a", subject, "application/vnd.example.sbom")
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, digestOf(t, sbom), digestOf(t, found[0]))
		require.Positive(t, proxy.Count(http.MethodPut, "/manifests/"+strings.Replace(first.Digest, ":", "-", 1)), "by a tag, without an API")
	})
}
