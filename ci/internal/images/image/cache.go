package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// cacheLimit is the cache's maximum size in bytes: the binaries and layers of about
// thirty services.
const cacheLimit = 512 << 20

// cache keeps files between builds, by key. It only saves time: a damaged file
// counts as absent, and no failure of the cache fails a build.
//
// A file's name is its key and the hash of its content, so that storing is one
// rename and needs no lock: processes that store under one key at the same time
// each leave a complete file.
type cache struct {
	dir string // if empty, nothing is kept
}

// CacheDir returns the user's build cache directory, or "" if the user has no cache
// directory.
func CacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "slipway", "build")
}

// cacheKey returns the key of everything that determines the content.
func cacheKey(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// read writes the content stored under key to w and reports whether it was complete
// and undamaged. Otherwise, discard what was written.
func (c cache) read(key string, w io.Writer) bool {
	if c.dir == "" {
		return false
	}
	names, _ := filepath.Glob(filepath.Join(c.dir, key+"-*"))
	if len(names) == 0 {
		return false
	}
	name := names[0]
	file, err := os.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(w, sum), file)
	if err != nil || !strings.HasSuffix(name, "-"+hex.EncodeToString(sum.Sum(nil))) {
		_ = os.Remove(name)
		return false
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // recently used files are kept
	return true
}

// readFile writes the content stored under key to a new file. Without any, it
// creates no file.
func (c cache) readFile(key, name string) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	found := c.read(key, file)
	if err := file.Close(); err != nil || !found {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// store replaces the content stored under key, then removes the least recently used
// files if the cache is too large.
func (c cache) store(key string, content []byte) {
	if c.dir == "" || os.MkdirAll(c.dir, 0o700) != nil {
		return
	}
	name := filepath.Join(c.dir, key+"-"+contentHash(content))
	old, _ := filepath.Glob(filepath.Join(c.dir, key+"-*"))
	if slices.Equal(old, []string{name}) {
		return
	}
	if source.WriteFileAtomic(name, content, 0o600) != nil {
		return
	}
	for _, other := range old {
		if other != name {
			_ = os.Remove(other)
		}
	}
	c.trim(cacheLimit)
}

// trim removes the least recently used files until at most limit bytes are left.
func (c cache) trim(limit int64) {
	entries, _ := os.ReadDir(c.dir)
	var files []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, file := range files {
		if limit -= file.Size(); limit < 0 {
			_ = os.Remove(filepath.Join(c.dir, file.Name()))
		}
	}
}

func contentHash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
