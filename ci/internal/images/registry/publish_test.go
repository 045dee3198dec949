package registry_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// publication returns a publication to repository a.
func publication(image v1.ImageIndex) registry.Publication {
	return registry.Publication{Repository: "a", Tag: sha, Index: image}
}

func TestPublish(t *testing.T) {
	for _, mutability := range []ecrtypes.ImageTagMutability{ecrtypes.ImageTagMutabilityMutable, ecrtypes.ImageTagMutabilityImmutable} {
		t.Run(string(mutability), func(t *testing.T) {
			f := setUp(t, mutability)
			shared, own := randomLayer(t, 5000), randomLayer(t, 3000)
			image := index(t, shared, own)
			got, err := f.registry.Publish(t.Context(), publication(image))
			require.NoError(t, err)
			require.True(t, got.Pushed)
			require.Equal(t, "repo/a", got.Repository)
			require.Equal(t, f.proxy.Host+"/repo/a@"+digestOf(t, image), got.Image)
			require.Equal(t, int64(4), got.Blobs, "two layers, once for both platforms, and two configurations")
			require.Equal(t, int64(3), got.Manifests)
			require.Equal(t, registry.LatestResult{Result: registry.LatestNotMoved}, got.Latest)
			require.Equal(t, 4, f.proxy.Count(http.MethodPatch, ""))
			require.Equal(t, digestOf(t, image), f.names("a", sha))

			back, err := remote.Index(f.tag("a", sha), f.RemoteOptions()...)
			require.NoError(t, err)
			require.NoError(t, validate.Index(back), "what arrived is what was sent")

			t.Run("a second time sends nothing and asks once", func(t *testing.T) {
				f.proxy.Reset()
				again, err := f.registry.Publish(t.Context(), publication(image))
				require.NoError(t, err)
				require.False(t, again.Pushed)
				require.Zero(t, again.UploadStats)
				require.Zero(t, f.proxy.Writes())
				require.Equal(t, 1, f.proxy.Count("", ""))

				f.proxy.Reset()
				again, err = f.open().Publish(t.Context(), publication(image))
				require.NoError(t, err)
				require.False(t, again.Pushed)
				require.Equal(t, 2, f.proxy.Count("", ""), "a new process says hello first")
			})
			t.Run("the same image under another tag is one manifest", func(t *testing.T) {
				f.proxy.Reset()
				p := publication(image)
				p.Tag = strings.Repeat("f", 40)
				again, err := f.open().Publish(t.Context(), p)
				require.NoError(t, err)
				require.True(t, again.Pushed)
				require.Equal(t, 1, f.proxy.Writes())
				require.Equal(t, int64(1), again.Manifests)
				require.Zero(t, again.Blobs)
			})
			t.Run("a change sends what changed", func(t *testing.T) {
				f.proxy.Reset()
				p := publication(index(t, shared, randomLayer(t, 2000)))
				p.Tag = strings.Repeat("e", 40)
				changed, err := f.open().Publish(t.Context(), p)
				require.NoError(t, err)
				require.Equal(t, int64(3), changed.Blobs, "one layer and two configurations")
				require.Equal(t, int64(3), changed.Manifests)
			})
			t.Run("a tag is never moved", func(t *testing.T) {
				f.proxy.Reset()
				_, err := f.open().Publish(t.Context(), publication(index(t, own)))
				require.ErrorContains(t, err, "tag "+sha+" already names "+digestOf(t, image)+" in repo/a, not ")
				require.ErrorContains(t, err, "a tag is never moved")
				require.Equal(t, outcome.Refused, outcome.Of(err))
				require.Zero(t, f.proxy.Writes())
			})
		})
	}
}

// tag returns the reference of a tag, without the proxy.
func (f *fixture) tag(repository, tag string) name.Reference {
	f.Helper()
	ref, err := name.ParseReference(f.Server.Registry() + "/repo/" + repository + ":" + tag)
	f.RequireNoError(err)
	return ref
}

// TestInputs checks that an image is found by the tag of its inputs, which stays at the
// first image.
func TestInputs(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
	none, err := f.registry.FindIndex(t.Context(), "a", "inputs-1")
	require.NoError(t, err)
	require.Nil(t, none)
	first, second := index(t, randomLayer(t, 100)), index(t, randomLayer(t, 100))
	for n, image := range []v1.ImageIndex{first, second} {
		p := publication(image)
		p.Tag, p.Inputs = strings.Repeat(strconv.Itoa(n), 40), "inputs-1"
		_, err := f.registry.Publish(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, digestOf(t, image), f.names("a", p.Tag))
		found, err := f.registry.FindIndex(t.Context(), "a", "inputs-1")
		require.NoError(t, err)
		require.Equal(t, digestOf(t, first), digestOf(t, found))
		require.NoError(t, validate.Index(found))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.registry.FindIndex(ctx, "a", "inputs-1")
	require.ErrorIs(t, err, context.Canceled)
}

func TestPublishFromLayout(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
	image := index(t, randomLayer(t, 5000))
	dir, err := layout.Write(t.TempDir(), image)
	require.NoError(t, err)
	read, err := dir.ImageIndex()
	require.NoError(t, err)
	got, err := f.registry.Publish(t.Context(), publication(read))
	require.NoError(t, err)
	require.Equal(t, f.names("a", sha), got.Digest)
}

func TestPublishNested(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index(t, randomLayer(t, 10), static.NewLayer(nil, types.OCILayer))})
	got, err := f.registry.Publish(t.Context(), publication(nested))
	require.NoError(t, err)
	require.Equal(t, int64(4), got.Manifests)
	require.Equal(t, digestOf(t, nested), f.names("a", sha))
}

func TestPublishInvalidImages(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
	strange := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: randomLayer(t, 10)})
	_, err := f.registry.Publish(t.Context(), publication(strange))
	require.ErrorContains(t, err, "neither an image nor an index")
	require.Empty(t, f.names("a", sha))

	foreign := index(t, static.NewLayer([]byte("elsewhere"), types.OCIRestrictedLayer))
	got, err := f.registry.Publish(t.Context(), publication(foreign))
	require.NoError(t, err)
	require.Equal(t, int64(2), got.Blobs, "a layer that must not be distributed is not")

	_, err = f.registry.Publish(t.Context(), registry.Publication{Repository: "RE PO", Index: foreign})
	require.ErrorContains(t, err, `invalid repository name "repo/RE PO"`)
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestMount(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
	base := []v1.Layer{randomLayer(t, 5000), randomLayer(t, 6000)}
	_, err := f.registry.Publish(t.Context(), publication(index(t, append(base, randomLayer(t, 100))...)))
	require.NoError(t, err)

	t.Run("from what this process has sent", func(t *testing.T) {
		got, err := f.registry.Publish(t.Context(), registry.Publication{Repository: "b", Tag: sha, Index: index(t, append(base, randomLayer(t, 100))...)})
		require.NoError(t, err)
		require.Equal(t, int64(2), got.Mounted)
		require.Equal(t, int64(3), got.Blobs, "its own layer and two configurations")
	})
	t.Run("from another service's repository", func(t *testing.T) {
		f.proxy.Reset()
		got, err := f.open().Publish(t.Context(), registry.Publication{
			Repository: "c", Tag: sha, Index: index(t, append(base, randomLayer(t, 100))...), Siblings: []string{"none", "c", "b", "a"},
		})
		require.NoError(t, err)
		require.Equal(t, int64(2), got.Mounted)
		require.Zero(t, f.proxy.Count("", "/repo/a/"), "the first that has it is enough")
	})
	t.Run("not if a registry does not", func(t *testing.T) {
		f.proxy.Reset()
		f.proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
			r.URL.RawQuery = withoutMount(r.URL.RawQuery)
			return false
		}
		other := f.open()
		for _, repository := range []string{"b", "c"} {
			layer := randomLayer(t, 700)
			_, err := other.Publish(t.Context(), registry.Publication{Repository: "a", Tag: "one-" + repository, Index: index(t, layer)})
			require.NoError(t, err)
			got, err := other.Publish(t.Context(), registry.Publication{Repository: repository, Tag: "two", Index: index(t, layer)})
			require.NoError(t, err)
			require.Zero(t, got.Mounted)
			require.Equal(t, int64(3), got.Blobs)
		}
	})
	t.Run("nor if it refuses the question", func(t *testing.T) {
		f.proxy.Reset()
		f.proxy.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.RawQuery, "mount=") {
				w.WriteHeader(http.StatusBadRequest)
				return true
			}
			return false
		}
		other, layer := f.open(), randomLayer(t, 800)
		for _, repository := range []string{"b", "c"} {
			_, err := other.Publish(t.Context(), registry.Publication{Repository: repository, Tag: "three", Index: index(t, layer)})
			require.NoError(t, err)
			require.NotEmpty(t, f.names(repository, "three"))
		}
	})
}

func withoutMount(query string) string {
	if strings.Contains(query, "mount=") {
		return ""
	}
	return query
}

// TestMountPulledBase: a base image that was pulled from the same registry is
// mounted from its repository.
func TestMountPulledBase(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
	_, err := f.registry.Publish(t.Context(), publication(index(t, randomLayer(t, 5000))))
	require.NoError(t, err)
	at, err := name.ParseReference(f.proxy.Host + "/repo/a:" + sha)
	require.NoError(t, err)
	base, err := remote.Image(at, append(f.RemoteOptions(), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))...)
	require.NoError(t, err)
	layers, err := base.Layers()
	require.NoError(t, err)
	got, err := f.open().Publish(t.Context(), registry.Publication{Repository: "b", Tag: sha, Index: index(t, layers[0])})
	require.NoError(t, err)
	require.Equal(t, int64(1), got.Mounted)
	require.Equal(t, int64(2), got.Blobs)
}

func TestPublishConcurrently(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
	base := randomLayer(t, 50_000)
	var group sync.WaitGroup
	results := make([]registry.Published, 3)
	errs := make([]error, 3)
	for n, repository := range []string{"a", "b", "c"} {
		image := index(t, base, randomLayer(t, 100))
		group.Go(func() {
			results[n], errs[n] = f.registry.Publish(t.Context(), registry.Publication{Repository: repository, Tag: sha, Index: image})
		})
	}
	group.Wait()
	var blobs, mounted int64
	for n := range results {
		require.NoError(t, errs[n])
		blobs, mounted = blobs+results[n].Blobs, mounted+results[n].Mounted
	}
	require.Equal(t, int64(2), mounted, "the base goes up once")
	require.Equal(t, int64(1+3+6), blobs)
}

func TestLatest(t *testing.T) {
	tests := map[string]struct {
		mutability ecrtypes.ImageTagMutability
		latest     registry.LatestPolicy
		before     bool // the tag was published before
		current    bool // latest names the image already
		want       registry.LatestResult
		moved      bool
	}{
		"moved":                       {ecrtypes.ImageTagMutabilityMutable, registry.LatestPolicy{Move: true}, false, false, registry.LatestResult{Result: "moved"}, true},
		"not wanted":                  {ecrtypes.ImageTagMutabilityMutable, registry.LatestPolicy{Reason: "why"}, false, false, registry.LatestResult{Result: "left", Reason: "why"}, false},
		"published before":            {ecrtypes.ImageTagMutabilityMutable, registry.LatestPolicy{Move: true}, true, false, registry.LatestResult{Result: "left", Reason: "tag " + sha + " already existed"}, false},
		"published before, and moved": {ecrtypes.ImageTagMutabilityMutable, registry.LatestPolicy{Move: true, Always: true}, true, false, registry.LatestResult{Result: "moved"}, true},
		"there already":               {ecrtypes.ImageTagMutabilityMutable, registry.LatestPolicy{Move: true, Always: true}, true, true, registry.LatestResult{Result: "unchanged"}, true},
		"not to be moved":             {ecrtypes.ImageTagMutabilityImmutable, registry.LatestPolicy{Move: true}, false, false, registry.LatestResult{Result: "left", Reason: "repository repo/a has immutable tags"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := setUp(t, tt.mutability)
			old, image := index(t, randomLayer(t, 10)), index(t, randomLayer(t, 20))
			publish := func(index v1.ImageIndex, tag string) {
				_, err := f.registry.Publish(t.Context(), registry.Publication{Repository: "a", Tag: tag, Index: index})
				require.NoError(t, err)
			}
			publish(old, "latest")
			if tt.before {
				publish(image, sha)
			}
			if tt.current {
				p := publication(image)
				p.Latest = registry.LatestPolicy{Move: true, Always: true}
				_, err := f.registry.Publish(t.Context(), p)
				require.NoError(t, err)
			}
			p := publication(image)
			p.Latest = tt.latest
			got, err := f.registry.Publish(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Latest)
			want := old
			if tt.moved {
				want = image
			}
			require.Equal(t, digestOf(t, want), f.names("a", "latest"))
			require.Equal(t, digestOf(t, image), f.names("a", sha))
		})
	}
}

func TestLatestFails(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
	ctx, cancel := context.WithCancelCause(t.Context())
	p := publication(index(t, randomLayer(t, 10)))
	p.Latest.Move = true
	f.proxy.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/latest") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	got, err := f.registry.Publish(ctx, p)
	require.NoError(t, err, "nothing depends on latest")
	require.Equal(t, registry.LatestNotMoved, got.Latest.Result)
	require.Contains(t, got.Latest.Reason, "the registry denied access")
	require.NotEmpty(t, f.names("a", sha))

	f.proxy.OnRequest = func(http.ResponseWriter, *http.Request) bool {
		cancel(outcome.Interruption("stop"))
		return false
	}
	p.Tag, p.Latest.Always = "other", true
	_, err = f.registry.Publish(ctx, p)
	require.ErrorContains(t, err, "stop")
	require.Equal(t, outcome.Interrupted, outcome.Of(err))
}

// TestTagRace: of two publishers of a tag, the second writes after the first one's
// check.
func TestTagRace(t *testing.T) {
	tests := map[string]struct {
		mutability ecrtypes.ImageTagMutability
		same       bool
	}{
		"immutable, another image": {ecrtypes.ImageTagMutabilityImmutable, false},
		"immutable, the same":      {ecrtypes.ImageTagMutabilityImmutable, true},
		"mutable, the same":        {ecrtypes.ImageTagMutabilityMutable, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := setUp(t, tt.mutability)
			mine, theirs := index(t, randomLayer(t, 10)), index(t, randomLayer(t, 20))
			if tt.same {
				theirs = mine
			}
			var raced atomic.Bool
			f.proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/"+sha) && raced.CompareAndSwap(false, true) {
					f.RequireNoError(remote.WriteIndex(f.tag("a", sha), theirs, f.RemoteOptions()...))
				}
				return false
			}
			_, err := f.registry.Publish(t.Context(), publication(mine))
			require.True(t, raced.Load())
			require.Equal(t, digestOf(t, theirs), f.names("a", sha))
			if tt.same {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "already names "+digestOf(t, theirs))
			require.Equal(t, outcome.Refused, outcome.Of(err))
		})
	}
	t.Run("mutable, overtaken", func(t *testing.T) {
		f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
		mine, theirs := index(t, randomLayer(t, 10)), index(t, randomLayer(t, 20))
		f.proxy.OnResponse = func(answer *http.Response) error {
			if answer.Request.Method == http.MethodPut && strings.HasSuffix(answer.Request.URL.Path, "/manifests/"+sha) {
				f.RequireNoError(remote.WriteIndex(f.tag("a", sha), theirs, f.RemoteOptions()...))
			}
			return nil
		}
		_, err := f.registry.Publish(t.Context(), publication(mine))
		require.Equal(t, outcome.Refused, outcome.Of(err), "whoever was overtaken hears of it")
	})
	t.Run("overtaken while pushing", func(t *testing.T) {
		f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
		mine, theirs := index(t, randomLayer(t, 10)), index(t, randomLayer(t, 20))
		f.proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				f.RequireNoError(remote.WriteIndex(f.tag("a", sha), theirs, f.RemoteOptions()...))
			}
			return false
		}
		_, err := f.registry.Publish(t.Context(), publication(mine))
		require.Equal(t, outcome.Refused, outcome.Of(err))
		require.Equal(t, digestOf(t, theirs), f.names("a", sha), "a tag that moves is not moved")
	})
}

func TestFind(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
	image := index(t, randomLayer(t, 10))
	_, err := f.registry.Publish(t.Context(), publication(image))
	require.NoError(t, err)
	for _, silent := range []bool{false, true} { // a registry need not say the digest
		if silent {
			f.proxy.OnResponse = func(answer *http.Response) error { answer.Header.Del("Docker-Content-Digest"); return nil }
		}
		found, ok, err := f.registry.Find(t.Context(), "a", sha)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, f.proxy.Host+"/repo/a@"+digestOf(t, image), found)
		_, ok, err = f.registry.Find(t.Context(), "a", "none")
		require.NoError(t, err)
		require.False(t, ok)
	}
	_, _, err = f.registry.Find(t.Context(), "A", sha)
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestNew(t *testing.T) {
	tests := map[string]struct{ host, prefix, want string }{
		"registry.example.com":            {"registry.example.com", "", ""},
		"registry.example.com:5000/a/b/":  {"registry.example.com:5000", "a/b", ""},
		"https://registry.example.com":    {"", "", "without https://"},
		"registry.example.com/Big":        {"", "", `the prefix "Big" may have only lower-case letters`},
		"":                                {"", "", "such as registry.example.com/team"},
		"two words":                       {"", "", "want HOST[:PORT][/PREFIX]"},
		"123456789012.dkr.ecr.amazon.com": {"123456789012.dkr.ecr.amazon.com", "", ""},
	}
	for address, tt := range tests {
		t.Run(address, func(t *testing.T) {
			r, err := registry.New(address, registry.Options{})
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.Equal(t, outcome.Usage, outcome.Of(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.host, r.Host)
			require.Equal(t, tt.prefix, r.Prefix)
		})
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:4566": true, "[::1]:80": true, "::1": true, "localhost": true, "localhost:5000": true,
		"127.0.0.1.example.com": false, "10.0.0.1:5000": false, "registry.local": false, "": false,
	} {
		require.Equal(t, want, registry.IsLoopback(host), host)
	}
}

func TestDockerConfiguration(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
	out, err := f.ECR.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	require.NoError(t, err)
	token := aws.ToString(out.AuthorizationData[0].AuthorizationToken)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	write(t, filepath.Join(dir, "config.json"), `{"auths": {"`+f.proxy.Host+`": {"auth": "`+token+`"}}}`)
	r := f.open(fromDocker)
	_, ok, err := r.Find(t.Context(), "a", sha)
	require.NoError(t, err)
	require.False(t, ok)

	write(t, filepath.Join(dir, "config.json"), `{`)
	_, _, err = f.open(fromDocker).Find(t.Context(), "a", sha)
	require.ErrorContains(t, err, "finding the credentials for "+f.proxy.Host)
	require.Equal(t, outcome.Usage, outcome.Of(err))
}
