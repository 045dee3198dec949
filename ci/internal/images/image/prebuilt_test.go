package image_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// platformImage returns a random image of a platform.
func platformImage(t *testing.T, architecture string) v1.Image {
	t.Helper()
	img, err := random.Image(100, 2)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	img, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	return img
}

func TestPrebuilt(t *testing.T) {
	address := host(t, quietRegistry())
	amd, arm := platformImage(t, "amd64"), platformImage(t, "arm64")
	both := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: platformImage(t, "s390x"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: platformImage(t, "unknown"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
	)
	tag := func(reference string) name.Reference {
		ref, err := name.ParseReference(address + "/" + reference)
		require.NoError(t, err)
		return ref
	}
	require.NoError(t, remote.WriteIndex(tag("cache:1"), both, remote.WithTransport(http.DefaultTransport)))
	require.NoError(t, remote.Write(tag("small:1"), amd, remote.WithTransport(http.DefaultTransport)))
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	hash, err := both.Digest()
	require.NoError(t, err)

	build := func(service platform.Service, change func(*image.Builder)) (image.Image, error) {
		b := image.Builder{}
		if change != nil {
			change(&b)
		}
		images, err := b.Build(t.Context(), []platform.Service{service})
		return images[0], err
	}
	service := func(reference, architecture string) platform.Service {
		return platform.Service{Name: "cache", Build: platform.Build{Kind: platform.Prebuilt, Image: reference}, Architecture: architecture}
	}
	for name, reference := range map[string]string{"a tag": address + "/cache:1", "a digest": address + "/cache@" + hash.String()} {
		t.Run(name, func(t *testing.T) {
			img, err := build(service(reference, "ARM64"), nil)
			require.NoError(t, err)
			require.NoError(t, validate.Index(img.Index))
			require.Equal(t, []image.Pin{{Reference: reference, Digest: hash.String()}}, img.Bases)
			manifest, err := img.Index.IndexManifest()
			require.NoError(t, err)
			require.Len(t, manifest.Manifests, 2, "the platforms that we build for")
			for n, original := range []v1.Image{amd, arm} {
				want, err := original.Digest()
				require.NoError(t, err)
				require.Equal(t, want, manifest.Manifests[n].Digest, "unchanged")
			}
			require.Empty(t, img.Note+img.MissingBase+img.InputsTag())
			again, err := build(service(address+"/cache:1", ""), nil)
			require.NoError(t, err)
			require.Equal(t, digest(t, img), digest(t, again), "the digest tells whether it changed")
		})
	}
	t.Run("an image of one platform", func(t *testing.T) {
		img, err := build(service(address+"/small:1", "X86_64"), nil)
		require.NoError(t, err)
		require.Equal(t, "for linux/amd64 only: the registry has no others", img.Note)
	})
	t.Run("a rehearsal", func(t *testing.T) {
		img, err := build(service("docker.invalid/cache:1", ""), func(b *image.Builder) { b.Offline = true })
		require.NoError(t, err)
		require.Equal(t, "a rehearsal does not pull docker.invalid/cache:1", img.MissingBase)
	})
	for name, tt := range map[string]struct {
		service platform.Service
		code    outcome.Code
		want    string
	}{
		"the platform is missing": {service(address+"/small:1", "ARM64"), outcome.Usage, "building cache: image " + address + "/small:1 is for linux/amd64, but cache runs on linux/arm64: correct architecture in terraform/services.auto.tfvars.json, or choose another image"},
		"no such tag":             {service(address+"/cache:2", ""), outcome.Failed, "pulling image " + address + "/cache:2: its registry has no such image: correct image in terraform/services.auto.tfvars.json"},
		"no such registry":        {service("127.0.0.1:1/cache:1", ""), outcome.Failed, "pulling image 127.0.0.1:1/cache:1: its registry cannot be reached: "},
		"a malformed name":        {service("UPPER:1", ""), outcome.Usage, `image "UPPER:1" in terraform/services.auto.tfvars.json: could not parse reference`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := build(tt.service, nil)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
			require.Equal(t, 0, strings.Count(err.Error(), "\n"))
		})
	}
	t.Run("a login is required", func(t *testing.T) {
		private := host(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		_, err := build(service(private+"/cache:1", ""), nil)
		require.ErrorContains(t, err, "requires a login or has no such image: run docker login "+private)
	})
}
