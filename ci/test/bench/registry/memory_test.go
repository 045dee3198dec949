package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/registry"
)

const (
	// large is the size of the layer whose way is measured.
	large = 500 << 20
	// most is the memory that a publisher may take for it.
	most = 150 << 20
	// errandVariable makes this program a process that publishes once, so that its
	// memory is not the registry's, too.
	errandVariable = "SLIPWAY_BENCH_PUBLISH"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(errandVariable); text != "" {
		if err := runErrand(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// errand is a publication that such a process makes.
type errand struct {
	Target  target
	Dir     string // the layout
	Tag     string
	Library bool // by go-containerregistry alone
}

// cost is what it took.
type cost struct {
	Took time.Duration
	Peak int64 // bytes of resident memory
	Sent registry.Sent
}

func runErrand(text string) error {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	index, err := layout.ImageIndexFromPath(e.Dir)
	if err != nil {
		return err
	}
	start, c := time.Now(), cost{}
	if e.Library {
		at, err := name.ParseReference(e.Target.Host + "/" + repository + ":" + e.Tag)
		if err != nil {
			return err
		}
		if err := remote.WriteIndex(at, index, remote.WithAuth(e.Target.auth())); err != nil {
			return err
		}
	} else {
		r, err := registry.New(e.Target.Host, registry.Options{Auth: e.Target.auth()})
		if err != nil {
			return err
		}
		published, err := r.Publish(context.Background(), registry.Publication{Repository: repository, Tag: e.Tag, Index: index})
		if err != nil {
			return err
		}
		c.Sent = published.Sent
	}
	c.Took = time.Since(start)
	if c.Peak, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

// peak is the largest resident memory that this process has had. What wait4 tells
// would be that of the process that started it, if that was larger.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}

// stream is a layer of random content that is made as it is read.
type stream struct {
	seed byte
	sum  v1.Hash
}

func newStream(b *testing.B, seed byte) stream {
	b.Helper()
	s := stream{seed: seed}
	hash := sha256.New()
	_, err := io.Copy(hash, s.content())
	require.NoError(b, err)
	s.sum = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(hash.Sum(nil))}
	return s
}

func (s stream) content() io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{s.seed}), large)
}
func (s stream) Digest() (v1.Hash, error)             { return s.sum, nil }
func (s stream) DiffID() (v1.Hash, error)             { return s.sum, nil }
func (s stream) Compressed() (io.ReadCloser, error)   { return io.NopCloser(s.content()), nil }
func (s stream) Uncompressed() (io.ReadCloser, error) { return s.Compressed() }
func (stream) Size() (int64, error)                   { return large, nil }
func (stream) MediaType() (types.MediaType, error)    { return types.OCIUncompressedLayer, nil }

// writeLarge writes the layout of an image with a large layer.
func writeLarge(b *testing.B, seed byte) (dir string) {
	b.Helper()
	dir = b.TempDir()
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), newStream(b, seed))
	require.NoError(b, err)
	_, err = layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img}))
	require.NoError(b, err)
	return dir
}

// BenchmarkLargeLayer measures the peak memory and the throughput of publishing a
// layer of 500 MiB from a file, in a process of its own.
func BenchmarkLargeLayer(b *testing.B) {
	if _, err := peak(); err != nil {
		b.Skipf("peak memory is read from /proc, which only Linux has: %v", err)
	}
	ours, theirs := writeLarge(b, 1), writeLarge(b, 2)
	each(b, func(b *testing.B, t target) {
		got := run(b, errand{Target: t, Dir: ours, Tag: "ours"})
		require.Equal(b, int64(2), got.Sent.Blobs)
		library := run(b, errand{Target: t, Dir: theirs, Tag: "theirs", Library: true})
		require.Less(b, got.Peak, int64(most))
		b.ReportMetric(float64(got.Peak)/(1<<20), "peak-MiB")
		b.ReportMetric(float64(library.Peak)/(1<<20), "library-peak-MiB")
		b.ReportMetric(large/got.Took.Seconds()/1e6, "MB/s-sent")
		b.ReportMetric(library.Took.Seconds()/got.Took.Seconds(), "library-time/ours")
	})
}

func run(b *testing.B, e errand) (c cost) {
	b.Helper()
	text, err := json.Marshal(e)
	require.NoError(b, err)
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), errandVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(b, err)
	require.NoError(b, json.Unmarshal(out, &c))
	return c
}
