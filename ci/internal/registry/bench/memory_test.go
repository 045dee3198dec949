package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/registry"
)

const (
	// largeLayer is the size of a layer that nobody should hold in memory.
	largeLayer = 500_000_000
	// memoryLimit is what a process that pushes it may need at most, in MiB.
	memoryLimit = 150
)

// pushVariable makes this program a process that pushes one layout, so that its
// memory is not the registry's, too.
const pushVariable = "SLIPWAY_BENCH_PUSH"

// errand is what such a process pushes.
type errand struct {
	Host, Repository string
	Auth             authn.AuthConfig
	Layouts          string
	// Library pushes with go-containerregistry, for comparison.
	Library bool
}

// errandDone is what it tells.
type errandDone struct {
	Seconds float64
	PeakMiB float64
}

func runErrand(text string) int {
	done, err := push(text)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(done)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func push(text string) (errandDone, error) {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return errandDone{}, err
	}
	img, err := image.ReadLayout(e.Layouts, "large")
	if err != nil {
		return errandDone{}, err
	}
	const tag = "0123456789012345678901234567890123456789"
	start := time.Now()
	if e.Library {
		reference, err := name.ParseReference(e.Host + "/" + e.Repository + ":" + tag)
		if err == nil {
			err = remote.WriteIndex(reference, img.Index, remote.WithAuth(authn.FromConfig(e.Auth)))
		}
		if err != nil {
			return errandDone{}, err
		}
	} else {
		r, err := registry.New(e.Host, registry.Options{Auth: authn.FromConfig(e.Auth)})
		if err != nil {
			return errandDone{}, err
		}
		defer r.Close()
		if _, err := r.Publish(context.Background(), registry.Publication{Repository: e.Repository, Tag: tag, Index: img.Index}); err != nil {
			return errandDone{}, err
		}
	}
	took := time.Since(start)
	peak, err := peakMemory()
	return errandDone{took.Seconds(), peak}, err
}

// peakMemory is the peak resident memory of this process, in MiB. What getrusage
// says is no use: it has the peak of the process that started this one, too.
func peakMemory() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		return 0, fmt.Errorf("/proc/self/status has no VmHWM")
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	return float64(kilobytes) / 1024, err
}

// auth is the login to the registry.
func (p peer) auth(b *testing.B) authn.Authenticator {
	b.Helper()
	if p.login == nil {
		return authn.Anonymous
	}
	answer, err := p.login.GetAuthorizationToken(context.Background(), nil)
	require.NoError(b, err)
	return authn.FromConfig(authn.AuthConfig{Auth: *answer.AuthorizationData[0].AuthorizationToken})
}

// onDisk is a layer of which nothing is in memory.
type onDisk struct {
	file   string
	digest v1.Hash
}

func (l onDisk) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l onDisk) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l onDisk) Size() (int64, error)                 { return largeLayer, nil }
func (l onDisk) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (l onDisk) Compressed() (io.ReadCloser, error)   { return os.Open(l.file) }
func (l onDisk) Uncompressed() (io.ReadCloser, error) { return os.Open(l.file) }

// largeLayout writes a layout with one large layer, and returns the folder.
func largeLayout(b *testing.B) string {
	b.Helper()
	l := onDisk{file: filepath.Join(b.TempDir(), "noise")}
	file, err := os.Create(l.file)
	require.NoError(b, err)
	var size int64
	l.digest, size, err = v1.SHA256(io.TeeReader(noise(largeLayer), file))
	require.NoError(b, err)
	require.NoError(b, file.Close())
	require.Equal(b, int64(largeLayer), size)
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), l)
	require.NoError(b, err)
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	})
	dir := b.TempDir()
	require.NoError(b, image.WriteLayouts(dir, []image.Image{{Service: "large", Index: index}}))
	require.NoError(b, os.Remove(l.file))
	return dir
}

// BenchmarkLargeLayer pushes a layer of 500 MB from a layout, by turns with
// Slipway and with the library.
func BenchmarkLargeLayer(b *testing.B) {
	if _, err := peakMemory(); err != nil {
		b.Skip("peak memory is read from /proc/self/status, and there is none: run it on Linux")
	}
	each(b, func(b *testing.B, p peer) {
		e := errand{Host: p.host, Layouts: largeLayout(b)}
		b.ResetTimer()
		var took, library, peak float64
		for n := range b.N {
			e.Library = false
			done := e.run(b, p, fmt.Sprintf("own-%d", n))
			took, peak = took+done.Seconds, max(peak, done.PeakMiB)
			e.Library = true
			library += e.run(b, p, fmt.Sprintf("library-%d", n)).Seconds
		}
		sent := float64(b.N) * largeLayer / 1e6
		b.ReportMetric(0, "ns/op") // of both together: it means nothing
		b.ReportMetric(sent/took, "MB/s")
		b.ReportMetric(sent/library, "library-MB/s")
		b.ReportMetric(peak, "peak-MiB")
		require.Less(b, peak, float64(memoryLimit))
	})
}

// run does the errand in a process of its own.
func (e errand) run(b *testing.B, p peer, repository string) errandDone {
	b.Helper()
	p.create(repository)
	auth, err := p.auth(b).Authorization()
	require.NoError(b, err)
	e.Repository, e.Auth = repository, *auth
	text, err := json.Marshal(e)
	require.NoError(b, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), pushVariable+"="+string(text))
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, string(out))
	var done errandDone
	require.NoError(b, json.Unmarshal(out, &done), string(out))
	return done
}
