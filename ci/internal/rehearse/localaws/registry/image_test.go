package registry_test

import (
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/registry"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func TestParseReference(t *testing.T) {
	s, err := registry.NewStore(t.TempDir(), "127.0.0.1:5000", wire.Scope{Region: "us-east-1", Account: "123456789012"}, time.Now)
	require.NoError(t, err)
	defer s.Close()
	tests := map[string]struct {
		repo, reference string
		ours            bool
	}{
		"127.0.0.1:5000/app":                                  {"app", "latest", true},
		"127.0.0.1:5000/team/app:v1":                          {"team/app", "v1", true},
		"127.0.0.1:5000/app@sha256:abc":                       {"app", "sha256:abc", true},
		"127.0.0.1:5000/app:v1@sha256:abc":                    {"app", "sha256:abc", true},
		"123456789012.dkr.ecr.us-east-1.amazonaws.com/app:v1": {"app", "v1", true},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1": {},
		"nginx":              {},
		"127.0.0.1:5001/app": {},
	}
	for ref, want := range tests {
		repo, reference, ours := s.ParseReference(ref)
		require.Equal(t, want.ours, ours, ref)
		require.Equal(t, want.repo, repo, ref)
		require.Equal(t, want.reference, reference, ref)
	}
}

// store returns a store with an image "plain", and an index "multi" of only that image.
func store(t *testing.T) (*registry.Store, v1.Image) {
	t.Helper()
	s, err := registry.NewStore(t.TempDir(), "localhost", wire.Scope{}, time.Now)
	require.NoError(t, err)
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		s.Close()
	})
	router := httptest.NewServer(&wire.Router{Services: []wire.Service{s.Service()}})
	t.Cleanup(router.Close)
	client := ecr.New(ecr.Options{Region: "us-east-1", BaseEndpoint: &router.URL, Credentials: aws.AnonymousCredentials{}, HTTPClient: router.Client()})
	_, err = client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	require.NoError(t, err)
	token, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	require.NoError(t, err)
	raw, err := base64.StdEncoding.DecodeString(*token.AuthorizationData[0].AuthorizationToken)
	require.NoError(t, err)
	_, password, _ := strings.Cut(string(raw), ":")
	options := []remote.Option{
		remote.WithAuth(&authn.Basic{Username: "AWS", Password: password}), remote.WithTransport(server.Client().Transport),
	}
	img := image(t, 2)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	host := strings.TrimPrefix(server.URL, "http://")
	plain, err := name.ParseReference(host + "/app:plain")
	require.NoError(t, err)
	require.NoError(t, remote.Write(plain, img, options...))
	multi, err := name.ParseReference(host + "/app:multi")
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(multi, index, options...))
	return s, img
}

func TestStoredImages(t *testing.T) {
	s, img := store(t)
	want, err := img.Digest()
	require.NoError(t, err)
	amd, arm := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}
	for _, tag := range []string{"plain", "multi"} {
		got, err := s.Image("app", tag, []v1.Platform{amd, arm})
		require.NoError(t, err)
		require.NoError(t, validate.Image(got))
		digest, err := got.Digest()
		require.NoError(t, err)
		require.Equal(t, want, digest)
	}
	_, err = s.Image("app", "multi", []v1.Platform{amd})
	require.ErrorAs(t, err, new(registry.PlatformError))
	require.EqualError(t, err, "image Manifest does not contain descriptor matching platform 'linux/amd64'")
	_, err = s.Image("app", "none", nil)
	require.ErrorIs(t, err, registry.ErrManifestUnknown)
	_, err = s.Image("none", "plain", nil)
	require.ErrorIs(t, err, registry.ErrRepositoryUnknown)
	_, err = s.PutManifest("app", "artifact", "", []byte(`{"mediaType":"application/vnd.oci.image.manifest.v1+json"}`))
	require.NoError(t, err)
	_, err = s.Image("app", "artifact", nil)
	require.ErrorIs(t, err, registry.ErrManifestInvalid)
}
