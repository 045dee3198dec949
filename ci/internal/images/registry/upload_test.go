package registry_test

import (
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
)

func fromDocker(o *registry.Options) { o.Auth, o.Keychain = nil, authn.DefaultKeychain }

func write(t *testing.T, file, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
}

// TestUploadsAreRestarted: an interrupted upload is restarted.
func TestUploadsAreRestarted(t *testing.T) {
	const size = 1 << 20
	for _, kind := range []localaws.FaultKind{localaws.Reset, localaws.ServerError, localaws.Throttle} {
		t.Run(string(kind), func(t *testing.T) {
			f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
			image := f.indexMissing(randomLayer(t, size))
			before := f.called("InitiateLayerUpload")
			defer f.Server.Inject(localaws.Fault{Kind: kind, Action: "UploadLayerPart", Times: 2, After: size * 2 / 5})()
			got, err := f.direct().Publish(t.Context(), publication(image))
			require.NoError(t, err)
			require.Equal(t, digestOf(t, image), f.names("a", sha))
			require.Equal(t, before+3, f.called("InitiateLayerUpload"))
			require.Greater(t, got.Bytes, int64(size*9/5), "what was sent again is counted")
			require.Equal(t, int64(1), got.Blobs)
			back, err := remote.Index(f.tag("a", sha), f.RemoteOptions()...)
			require.NoError(t, err)
			require.NoError(t, validate.Index(back))
			require.Len(t, f.clock.slept, 2, "both failures were the layer's")
		})
	}
}

// indexMissing returns an image of which only a layer is missing in the registry, so
// that faults affect no other upload.
func (f *fixture) indexMissing(layer v1.Layer) v1.ImageIndex {
	f.Helper()
	image := index(f.T, layer)
	children, err := partial.FindImages(image, func(v1.Descriptor) bool { return true })
	f.RequireNoError(err)
	for _, child := range children {
		config, err := partial.ConfigLayer(child)
		f.RequireNoError(err)
		f.RequireNoError(remote.WriteLayer(f.tag("a", sha).Context(), config, f.RemoteOptions()...))
	}
	return image
}

// called returns the number of calls of an action.
func (f *fixture) called(action string) (n int) {
	for _, c := range f.Server.Calls() {
		if c.Action == action {
			n++
		}
	}
	return n
}

// direct returns a registry client without the proxy.
func (f *fixture) direct() *registry.Registry {
	f.Helper()
	r, err := registry.New(f.Server.Registry()+"/repo", registry.Options{Auth: f.Auth(), Clock: f.clock})
	f.RequireNoError(err)
	f.Cleanup(r.Close)
	return r
}

// TestLostResponses: if the response to the end of an upload is lost, the blob
// exists nevertheless.
func TestLostResponses(t *testing.T) {
	for _, action := range []string{"CompleteLayerUpload", "PutImage", "InitiateLayerUpload", "UploadLayerPart", "BatchGetImage", "BatchCheckLayerAvailability"} {
		t.Run(action, func(t *testing.T) {
			f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
			defer f.Server.Inject(localaws.Fault{Kind: localaws.LostResponse, Action: action, Times: 3})()
			image := index(t, randomLayer(t, 1000))
			_, err := f.direct().Publish(t.Context(), publication(image))
			require.NoError(t, err)
			require.Equal(t, digestOf(t, image), f.names("a", sha))
		})
	}
}

func TestRetryAfter(t *testing.T) {
	tests := map[string]struct {
		value string
		least time.Duration
		fails bool
	}{
		"seconds":            {"7", 7 * time.Second, false},
		"a date":             {time.Unix(1_700_000_011, 0).UTC().Format(http.TimeFormat), 11 * time.Second, false},
		"a date in the past": {time.Unix(1_600_000_000, 0).UTC().Format(http.TimeFormat), 0, false},
		"nonsense":           {"soon", 0, false},
		"too long":           {"3600", 0, true},
	}
	for name, tt := range tests {
		for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodHead} {
			t.Run(name+" "+method, func(t *testing.T) {
				f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
				_, err := f.registry.Publish(t.Context(), registry.Publication{Repository: "b", Tag: sha, Index: index(t)})
				require.NoError(t, err)
				var hit atomic.Bool
				f.proxy.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == method && hit.CompareAndSwap(false, true) {
						w.Header().Set("Retry-After", tt.value)
						w.WriteHeader(http.StatusTooManyRequests)
						return true
					}
					return false
				}
				_, err = f.registry.Publish(t.Context(), publication(index(t, randomLayer(t, 1000))))
				if tt.fails {
					require.ErrorContains(t, err, "the registry throttles requests")
					require.Empty(t, f.names("a", sha))
					return
				}
				require.NoError(t, err)
				require.Len(t, f.clock.slept, 1)
				require.GreaterOrEqual(t, f.clock.slept[0], tt.least)
				require.Positive(t, f.clock.slept[0])
			})
		}
	}
}

func TestLimits(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityImmutable, func(o *registry.Options) {
		o.RateLimits = registry.RateLimits{StartUploads: 2, FinishUploads: 2, PutManifests: 2}
	})
	_, err := f.registry.Publish(t.Context(), publication(index(t, randomLayer(t, 10))))
	require.NoError(t, err)
	require.Len(t, f.clock.slept, 3, "one each of three blobs' starts and ends, and of three manifests")
	for _, d := range f.clock.slept {
		require.Equal(t, 500*time.Millisecond, d)
	}
}
