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

// contentTime is a time that changes with the content and with nothing else.
// Nginx makes a file's ETag of its time and size: with one time for all files
// a browser would keep a page that changed and kept its size.
func contentTime(data []byte) time.Time {
	digest := sha256.Sum256(data)
	return time.Unix(int64(binary.BigEndian.Uint32(digest[:])>>2), 0) // 1970 to 2004
}

// layer is a gzip-compressed layer held in memory.
type layer struct {
	digest, diffID v1.Hash
	compressed     []byte
}

// newLayer packs files, owned by root, with the folders above them.
//
// The compressor is a library and not the toolchain's own, so that its version
// is pinned by go.mod: the bytes of compress/gzip may change with each Go
// release, and the digest with them. It uses one core, because the platforms
// of an image use the others, and how many there are must not be seen in the
// bytes.
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

// compressorVersion is the version of the library that compresses layers. A
// layer that another version made is not taken from the cache: the digest
// would depend on what is in it.
var compressorVersion = sync.OnceValue(func() string {
	const library = "github.com/klauspost/compress"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == library {
				return module.Version + module.Sum
			}
		}
	}
	return rand.Text() // unknown: nothing is found
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

// counter hashes and counts what is written to it.
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
