package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// fakePodman puts a podman on PATH whose builds give another image each time, and a docker
// without a daemon. The function returns how many builds there were.
func fakePodman(t *testing.T) (builds func() int) {
	t.Helper()
	bin, made := t.TempDir(), t.TempDir()
	for _, n := range []string{"1", "2", "3", "4"} {
		img, err := random.Image(64, 1)
		require.NoError(t, err)
		img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: must(img.ConfigFile()).RootFS})
		require.NoError(t, err)
		target, err := layout.Write(filepath.Join(made, n), empty.Index)
		require.NoError(t, err)
		require.NoError(t, target.AppendImage(img))
	}
	write := func(name, script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	write("docker", "exit 1\n")
	write("podman", `case $1 in
build)
	echo . >>`+made+`/builds
	for arg; do case $arg in --iidfile=*) wc -l <`+made+`/builds | tr -d ' ' >"${arg#*=}";; esac; done;;
push) cp -r "`+made+`/$2" "${3#oci:}";;
esac
`)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	return func() int {
		log, _ := os.ReadFile(filepath.Join(made, "builds"))
		return strings.Count(string(log), "\n")
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// TestPublishDockerfile checks that services that share an image publish it once, and that
// it is built again only when its inputs change.
func TestPublishDockerfile(t *testing.T) {
	builds := fakePodman(t)
	inAccount(t, ecrtypes.ImageTagMutabilityImmutable, "app")
	dir := sourcetest.New(t)
	const build = `"path": "app", "kind": "dockerfile", "cpu": 256, "memory": 512, "desired_count": 1`
	sourcetest.Write(t, dir, platform.ServicesFile, `{"services": {"app": {`+build+`, "port": 80, "health_path": "/", "routes": ["/*"]}, "worker": {`+build+`, "command": ["work"]}}}`)
	sourcetest.Write(t, dir, "app/Dockerfile", "FROM scratch\n")
	sourcetest.Commit(t, dir, "a Dockerfile")
	publish := func() delivery.Published {
		code, stdout, stderr := run(t, "publish", "--source", dir, "--platform", "linux/amd64", "--output", "json", "--no-attest")
		require.Equal(t, outcome.Done, code, stderr)
		return decode[delivery.Published](t, stdout)
	}
	first := publish()
	require.Len(t, first.Images, 2)
	require.Equal(t, []string{"app", "worker"}, []string{first.Images[0].Service, first.Images[1].Service})
	require.Equal(t, first.Images[0].Image, first.Images[1].Image)
	require.Equal(t, int64(2), first.Images[0].Blobs)
	require.Zero(t, first.Images[1].UploadStats, "it is sent once")
	require.Equal(t, 1, builds())

	sourcetest.Write(t, dir, "README.md", "elsewhere")
	sourcetest.Commit(t, dir, "second")
	second := publish()
	require.NotEqual(t, first.SHA, second.SHA)
	require.Equal(t, first.Images[0].Image, second.Images[0].Image)
	require.Equal(t, int64(1), second.Images[0].Manifests, "an unchanged service costs its tag")
	require.Equal(t, 1, builds(), "it is not built again")

	sourcetest.Write(t, dir, "app/new.txt", "new")
	sourcetest.Commit(t, dir, "third")
	third := publish()
	require.NotEqual(t, first.Images[0].Image, third.Images[0].Image)
	require.Equal(t, 2, builds())
}
