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

	"dagger/slipway/internal/config/source"
)

// cacheLimit is how many bytes the cache keeps: the binaries and layers of
// some thirty services.
const cacheLimit = 512 << 20

// cache keeps files between builds, by key. It only ever saves time: a file
// whose content is not what was stored is not there, and nothing that goes
// wrong with it is an error of the build.
//
// A file's name is its key and the hash of its content, so storing is one
// rename and needs no lock: of several processes that store under one key each
// leaves a whole file.
type cache struct {
	dir string // empty: nothing is kept
}

// CacheDir is where a user's builds keep what saves time to the next one;
// empty where the user has no place for that.
func CacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "slipway", "build")
}

// keyOf makes a key of all that decides the content.
func keyOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// fetch writes what is kept under key to w, and tells whether that was all of
// it and sound. What was written is worth nothing if not.
func (c cache) fetch(key string, w io.Writer) bool {
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
	_ = os.Chtimes(name, now, now) // what is used stays
	return true
}

// restore writes what is kept under key to a new file, which is not there
// afterwards if there is nothing.
func (c cache) restore(key, name string) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	found := c.fetch(key, file)
	if err := file.Close(); err != nil || !found {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// store keeps content under key in place of what was there, and forgets what
// was not used for longest where there is too much.
func (c cache) store(key string, content []byte) {
	if c.dir == "" || os.MkdirAll(c.dir, 0o700) != nil {
		return
	}
	name := filepath.Join(c.dir, key+"-"+contentName(content))
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

// trim removes the files that were not used for longest until limit bytes are
// left.
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

func contentName(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
