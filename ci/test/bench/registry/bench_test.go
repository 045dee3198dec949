// Package bench measures publishing against registries on this machine, beside
// go-containerregistry's own.
//
//	go -C ci/test test ./bench/registry -run '^$' -bench . -benchtime 1x -v
package bench

import (
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/localaws"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/registry"
	"dagger/slipway/internal/registry/registrytest"
	"dagger/slipway/internal/source"
	"dagger/slipway/internal/sourcetest"
	"dagger/slipway/internal/step"
)

// bench is the repository that everything is published to.
const repository = "bench"

// target is a registry with an empty repository.
type target struct {
	Host, User, Password string
}

func (t target) auth() authn.Authenticator {
	if t.User == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: t.User, Password: t.Password}
}

// registries are what is measured against: the embedded one, and Docker's where it
// is installed.
var registries = map[string]func(b *testing.B) target{
	"embedded": func(b *testing.B) target {
		b.Helper()
		server, err := localaws.Start(context.Background(), localaws.Options{})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, server.Close()) })
		api := ecr.New(ecr.Options{
			Region: platform.DefaultRegion, BaseEndpoint: aws.String(server.Endpoint()),
			Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		})
		_, err = api.CreateRepository(b.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(repository)})
		require.NoError(b, err)
		out, err := api.GetAuthorizationToken(b.Context(), &ecr.GetAuthorizationTokenInput{})
		require.NoError(b, err)
		raw, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
		require.NoError(b, err)
		user, password, _ := strings.Cut(string(raw), ":")
		return target{server.Registry(), user, password}
	},
	"docker": func(b *testing.B) target { b.Helper(); return target{Host: registrytest.Docker(b)} },
}

// each measures against each registry that is there, anew each time.
func each(b *testing.B, measure func(b *testing.B, t target)) {
	b.Helper()
	for name, start := range registries {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				measure(b, start(b))
			}
		})
	}
}

// program is a program as large as services are, and one line of it.
const program = `package main

import (
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("LINE")) })
	_ = http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
`

// build builds the image of a service whose program has a line.
func build(b *testing.B, dir, line string) v1.ImageIndex {
	b.Helper()
	require.NoError(b, os.WriteFile(filepath.Join(dir, "api", "main.go"), []byte(strings.Replace(program, "LINE", line, 1)), 0o600))
	tree := source.Tree{Dir: dir}
	p, err := platform.Load(dir)
	require.NoError(b, err)
	services, err := p.Select("api")
	require.NoError(b, err)
	lock, err := image.ReadLock(dir)
	require.NoError(b, err)
	images, err := image.Builder{Source: tree, Exec: step.Host{Source: dir}, Lock: lock}.Build(b.Context(), services)
	require.NoError(b, err)
	return images[0].Index
}

// publish publishes as a process of its own would: with nothing known.
func publish(b *testing.B, host string, t target, tag string, index v1.ImageIndex) registry.Published {
	b.Helper()
	r, err := registry.New(host, registry.Options{Auth: t.auth()})
	require.NoError(b, err)
	defer r.Close()
	got, err := r.Publish(b.Context(), registry.Publication{Repository: repository, Tag: tag, Index: index})
	require.NoError(b, err)
	return got
}

// BenchmarkOneLine measures what a change of one line of a service sends: one layer
// per platform, the configurations and the manifests. whole is what the first
// publication sent.
func BenchmarkOneLine(b *testing.B) {
	dir := sourcetest.New(b)
	before, after := build(b, dir, "one"), build(b, dir, "two")
	each(b, func(b *testing.B, t target) {
		first := publish(b, t.Host, t, "one", before)
		second := publish(b, t.Host, t, "two", after)
		require.Equal(b, int64(4), second.Blobs, "a layer and a configuration for each of two platforms")
		require.Equal(b, int64(3), second.Manifests)
		same := publish(b, t.Host, t, "three", after)
		require.Zero(b, same.Blobs)
		require.Equal(b, int64(1), same.Manifests)
		b.ReportMetric(float64(first.Bytes), "first-B")
		b.ReportMetric(float64(second.Bytes), "one-line-B")
		b.ReportMetric(float64(same.Bytes), "another-tag-B")
		b.ReportMetric(float64(first.Bytes)/float64(same.Bytes), "first/another-tag")
	})
}

// BenchmarkSecond measures the requests of publishing what is there, beside the
// library's.
func BenchmarkSecond(b *testing.B) {
	dir := sourcetest.New(b)
	index := build(b, dir, "one")
	each(b, func(b *testing.B, t target) {
		gate := registrytest.NewGate(b, t.Host)
		publish(b, gate.Host, t, "one", index)
		first := gate.Count("", "")
		gate.Reset()
		start := time.Now()
		again := publish(b, gate.Host, t, "one", index)
		took := time.Since(start)
		require.Zero(b, again.Sent)
		require.Zero(b, gate.Writes())
		second := gate.Count("", "")

		gate.Reset()
		at, err := name.ParseReference(gate.Host + "/" + repository + ":one")
		require.NoError(b, err)
		carrier := &http.Transport{}
		defer carrier.CloseIdleConnections()
		require.NoError(b, remote.WriteIndex(at, index, remote.WithAuth(t.auth()), remote.WithTransport(carrier)))
		b.ReportMetric(float64(first), "first-requests")
		b.ReportMetric(float64(second), "second-requests")
		b.ReportMetric(float64(gate.Count("", "")), "library-second-requests")
		b.ReportMetric(float64(first)/float64(second), "first/second")
		b.ReportMetric(float64(took.Microseconds())/1000, "second-ms")
	})
}
