package image

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
)

// file is one regular file of a layer.
type file struct {
	path string // slash-separated, without a leading slash
	mode int64  // permission bits
	data []byte
	time time.Time
}

// contentTime returns a time derived from the content. Nginx computes a file's ETag
// from its time and size: with a constant time, a browser would keep using a page
// that changed without changing its size.
func contentTime(data []byte) time.Time {
	digest := sha256.Sum256(data)
	return time.Unix(int64(binary.BigEndian.Uint32(digest[:])>>2), 0) // 1970 to 2004
}

// layer is a gzip-compressed layer in memory.
type layer struct {
	digest, diffID v1.Hash
	compressed     []byte
}

// newLayer archives files, owned by root, and their parent folders.
//
// The compressor is a library, not the standard one, so that go.mod pins its
// version: the output of compress/gzip may change with each Go release, and with it
// the digest. It uses one core, because the number of cores must not affect the
// output.
func newLayer(c cache, files []file) (v1.Layer, error) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	plain := &counter{hash: sha256.New()}
	if err := writeTar(tar.NewWriter(plain), files); err != nil {
		return nil, fmt.Errorf("packing a layer: %w", err)
	}
	diffID := hex.EncodeToString(plain.hash.Sum(nil))
	var compressed bytes.Buffer
	compressed.Grow(int(plain.n)/2 + bytes.MinRead)
	key := cacheKey("layer", diffID, compressorVersion())
	if !c.read(key, &compressed) {
		compressed.Reset()
		zipper, err := gzip.NewWriterLevel(&compressed, gzip.DefaultCompression)
		if err != nil {
			return nil, fmt.Errorf("packing a layer: %w", err)
		}
		err = writeTar(tar.NewWriter(zipper), files)
		if err = errors.Join(err, zipper.Close()); err != nil {
			return nil, fmt.Errorf("packing a layer: %w", err)
		}
		c.store(key, compressed.Bytes())
	}
	digest := sha256.Sum256(compressed.Bytes())
	return &layer{
		digest:     v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(digest[:])},
		diffID:     v1.Hash{Algorithm: "sha256", Hex: diffID},
		compressed: compressed.Bytes(),
	}, nil
}

// compressorVersion returns the version of the compression library. It is part of
// the cache key: layers of another version have other digests.
var compressorVersion = sync.OnceValue(func() string {
	const library = "github.com/klauspost/compress"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == library {
				return module.Version + module.Sum
			}
		}
	}
	return rand.Text() // unknown version: use no cached layer
})

func writeTar(archive *tar.Writer, files []file) error {
	made := map[string]bool{".": true}
	for n, f := range files {
		if n > 0 && files[n-1].path == f.path {
			return fmt.Errorf("two files at /%s", f.path)
		}
		if err := writeDirs(archive, path.Dir(f.path), made); err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.data)), ModTime: f.time}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("/%s: %w", f.path, err)
		}
		if _, err := archive.Write(f.data); err != nil {
			return fmt.Errorf("/%s: %w", f.path, err)
		}
	}
	return archive.Close()
}

func writeDirs(archive *tar.Writer, folder string, made map[string]bool) error {
	if made[folder] {
		return nil
	}
	if err := writeDirs(archive, path.Dir(folder), made); err != nil {
		return err
	}
	made[folder] = true
	return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

// counter hashes and counts the bytes written to it.
type counter struct {
	hash hash.Hash
	n    int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.hash.Write(p)
}

func (l *layer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *layer) Size() (int64, error)                { return int64(len(l.compressed)), nil }
func (l *layer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.compressed)), nil
}

func (l *layer) Uncompressed() (io.ReadCloser, error) {
	return gzip.NewReader(bytes.NewReader(l.compressed))
}
