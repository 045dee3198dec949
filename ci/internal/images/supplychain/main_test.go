package supplychain_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// embedded returns the registry of an embedded AWS with a repository "app".
func embedded(t *testing.T) *registry.Registry {
	t.Helper()
	p := localawstest.Start(t, localaws.Options{})
	out, err := p.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	require.NoError(t, err)
	host, _, _ := strings.Cut(*out.Repository.RepositoryUri, "/")
	r, err := registry.New(host, registry.Options{Auth: p.Auth()})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// build is the provenance of published images.
var build = supplychain.Build{Commit: strings.Repeat("1", 40)}

// publish publishes an image of two platforms with the given layers.
func publish(t *testing.T, to *registry.Registry, layers ...v1.Layer) supplychain.Subject {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img, err := random.Image(64, 1)
		require.NoError(t, err)
		img, err = mutate.AppendLayers(img, layers...)
		require.NoError(t, err)
		target, err := v1.ParsePlatform(platform)
		require.NoError(t, err)
		config, err := img.ConfigFile()
		require.NoError(t, err)
		config = config.DeepCopy()
		config.OS, config.Architecture = target.OS, target.Architecture
		img, err = mutate.ConfigFile(img, config)
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: target}})
	}
	_, err := to.Publish(t.Context(), registry.Publication{Repository: "app", Tag: "v1", Index: index})
	require.NoError(t, err)
	return supplychain.Subject{Service: "backend", Repository: "app", Index: index}
}
