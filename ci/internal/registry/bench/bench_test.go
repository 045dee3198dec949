// Package bench measures what publishing costs: bytes, requests, time and memory,
// against the embedded registry and against Docker's own, where that is
// installed.
//
//	go test ./internal/registry/bench -run '^$' -bench . -benchtime 3x -timeout 30m
//
// What is promised of a number is asserted: a benchmark that misses it fails.
package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/localaws"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/registry"
	"dagger/slipway/internal/registry/registrytest"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(pushVariable); text != "" {
		os.Exit(runErrand(text))
	}
	goleak.VerifyTestMain(m)
}

// peer is a registry to publish to.
type peer struct {
	host   string
	login  *awsecr.Client // nil where nobody need log in
	create func(repository string)
}

// peers are the registries that there are, by name.
var peers = map[string]func(b *testing.B) peer{
	"embedded": func(b *testing.B) peer {
		server, err := localaws.Start(context.Background(), localaws.Options{})
		require.NoError(b, err)
		carrier := &http.Transport{}
		b.Cleanup(func() { carrier.CloseIdleConnections(); require.NoError(b, server.Close()) })
		client := account(server.Endpoint(), carrier)
		return peer{server.Registry(), client, func(repository string) {
			_, err := client.CreateRepository(context.Background(), &awsecr.CreateRepositoryInput{RepositoryName: &repository})
			require.NoError(b, err)
		}}
	},
	"docker": func(b *testing.B) peer { return peer{registrytest.Docker(b), nil, func(string) {}} },
}

func account(endpoint string, carrier http.RoundTripper) *awsecr.Client {
	return awsecr.NewFromConfig(aws.Config{
		Region: platform.DefaultRegion, BaseEndpoint: &endpoint, HTTPClient: &http.Client{Transport: carrier},
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	})
}

// each measures with each registry.
func each(b *testing.B, measure func(b *testing.B, p peer)) {
	for name, start := range peers {
		b.Run(name, func(b *testing.B) { measure(b, start(b)) })
	}
}

// open opens a registry as a new process does.
func (p peer) open(b *testing.B, host string) *registry.Registry {
	b.Helper()
	r, err := registry.New(host, registry.Options{Auth: p.auth(b)})
	require.NoError(b, err)
	return r
}

const (
	layerSize = 3_000_000 // of a Go service's image
	baseSize  = 20_000_000
)

// noise is content that does not compress, another one at each call.
func noise(size int64) io.Reader {
	var seed [32]byte
	seed[0], seed[1] = byte(seeds.Add(1)), byte(seeds.Load()>>8)
	return io.LimitReader(rand.NewChaCha8(seed), size)
}

var seeds atomic.Int64

func layer(b *testing.B, size int64) v1.Layer {
	b.Helper()
	content, err := io.ReadAll(noise(size))
	require.NoError(b, err)
	return static.NewLayer(content, types.OCIUncompressedLayer)
}

// service is an image for both platforms, which share base and have a layer of
// their own each. more is how many bytes of it are not base.
func service(b *testing.B, base v1.Layer) (index v1.ImageIndex, more int64) {
	b.Helper()
	index = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range image.DefaultPlatforms() {
		img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), base, layer(b, layerSize))
		require.NoError(b, err)
		file, err := img.ConfigFile()
		require.NoError(b, err)
		file = file.DeepCopy()
		file.OS, file.Architecture = p.OS, p.Architecture
		img, err = mutate.ConfigFile(img, file)
		require.NoError(b, err)
		manifest, err := img.Manifest()
		require.NoError(b, err)
		size, err := img.Size()
		require.NoError(b, err)
		more += layerSize + manifest.Config.Size + size
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
	}
	size, err := index.Size()
	require.NoError(b, err)
	return index, more + size
}

// BenchmarkOneLine publishes a service of which one line was changed: what is
// sent is a layer for each platform, their configurations, and the manifests.
func BenchmarkOneLine(b *testing.B) {
	each(b, func(b *testing.B, p peer) {
		gate := registrytest.NewGate(b, p.host)
		p.create("service")
		base := layer(b, baseSize)
		r := p.open(b, gate.Host)
		defer r.Close()
		publish := func(n int) int64 {
			index, more := service(b, base)
			var body atomic.Int64
			gate.Reset()
			gate.Before = func(_ http.ResponseWriter, r *http.Request) bool {
				body.Add(r.ContentLength)
				return false
			}
			b.StartTimer()
			got, err := p.open(b, gate.Host).Publish(context.Background(), registry.Publication{Repository: "service", Tag: fmt.Sprintf("%040x", n), Index: index})
			b.StopTimer()
			require.NoError(b, err)
			require.Equal(b, body.Load(), got.Bytes, "what is told is what passed")
			return body.Load() - more
		}
		b.StopTimer()
		require.Equal(b, int64(baseSize), publish(0), "the first time the base goes, too")
		b.ResetTimer()
		for n := range b.N {
			require.Zero(b, publish(n+1), "nothing but what changed is sent")
		}
		b.ReportMetric(float64(gate.Count("", "")), "requests")
		_, more := service(b, base)
		b.ReportMetric(float64(more-2*layerSize), "bytes-beside-layers")
	})
}

// BenchmarkAgain publishes the same tree again: nothing is sent, whoever asks.
func BenchmarkAgain(b *testing.B) {
	each(b, func(b *testing.B, p peer) {
		gate := registrytest.NewGate(b, p.host)
		p.create("service")
		index, _ := service(b, layer(b, baseSize))
		publication := registry.Publication{Repository: "service", Tag: fmt.Sprintf("%040x", 1), Index: index}
		publish := func() registry.Published {
			r := p.open(b, gate.Host)
			defer r.Close()
			got, err := r.Publish(context.Background(), publication)
			require.NoError(b, err)
			return got
		}
		require.True(b, publish().Pushed)
		for b.Loop() {
			gate.Reset()
			require.Zero(b, publish().Sent)
			require.Zero(b, gate.Count("", "/blobs/"))
			require.Zero(b, gate.Writes())
			b.ReportMetric(float64(gate.Count("", "")), "requests")
		}
	})
}
