package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCache(t *testing.T) {
	c := cache{filepath.Join(t.TempDir(), "deep", "cache")}
	key, other := cacheKey("a", "b"), cacheKey("ab")
	require.NotEqual(t, key, other)
	get := func(key string) (string, bool) {
		var content bytes.Buffer
		ok := c.read(key, &content)
		return content.String(), ok
	}
	files := func() []string {
		names, err := filepath.Glob(filepath.Join(c.dir, "*"))
		require.NoError(t, err)
		return names
	}

	_, ok := get(key)
	require.False(t, ok)
	c.store(key, []byte("one"))
	c.store(other, []byte("other"))
	c.store(key, []byte("two"))
	content, ok := get(key)
	require.True(t, ok)
	require.Equal(t, "two", content)
	require.Len(t, files(), 2, "one file a key")

	t.Run("an incomplete file counts as absent", func(t *testing.T) {
		for _, damage := range []string{"tw", "twx", "", "two "} {
			c.store(key, []byte("two"))
			name := filepath.Join(c.dir, key+"-"+contentHash([]byte("two")))
			require.NoError(t, os.WriteFile(name, []byte(damage), 0o600))
			_, ok := get(key)
			require.False(t, ok, damage)
			require.NoFileExists(t, name)
		}
	})
	t.Run("a file is restored or not there", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, c.readFile(cacheKey("never"), file))
		require.NoFileExists(t, file)
		require.NoError(t, c.readFile(other, file))
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "other", string(content))
		require.Error(t, c.readFile(other, file), "something is in its place")
	})
	t.Run("what was not used for longest goes first", func(t *testing.T) {
		for n, key := range []string{"old", "new", "used"} {
			c.store(cacheKey(key), bytes.Repeat([]byte(key[:1]), 100))
			then := time.Unix(int64(1000*n), 0)
			for _, name := range files() {
				if strings.Contains(name, cacheKey(key)) {
					require.NoError(t, os.Chtimes(name, then, then))
				}
			}
		}
		_, ok := get(cacheKey("used"))
		require.True(t, ok)
		c.trim(250)
		for key, want := range map[string]bool{"old": false, "new": true, "used": true} {
			_, ok := get(cacheKey(key))
			require.Equal(t, want, ok, key)
		}
	})
	t.Run("nowhere", func(t *testing.T) {
		none := cache{}
		none.store(key, []byte("x"))
		require.False(t, none.read(key, &bytes.Buffer{}))
		blocked := cache{filepath.Join(files()[0], "below a file")}
		blocked.store(key, []byte("x"))
		require.False(t, blocked.read(key, &bytes.Buffer{}))
	})
}

// TestCachedLayer: a cached layer equals a new one.
func TestCachedLayer(t *testing.T) {
	kept := cache{t.TempDir()}
	files := []file{{path: "server", mode: 0o555, data: bytes.Repeat([]byte("content "), 1000), time: time.Unix(0, 0)}}
	without, err := newLayer(cache{}, files)
	require.NoError(t, err)
	var made []string
	for range 3 {
		l, err := newLayer(kept, files)
		require.NoError(t, err)
		require.Equal(t, without, l)
		names, err := filepath.Glob(filepath.Join(kept.dir, "*"))
		require.NoError(t, err)
		if made == nil {
			made = names
		}
		require.Equal(t, made, names)
	}
	require.Len(t, made, 1)

	require.NoError(t, os.WriteFile(made[0], []byte("damaged"), 0o600))
	l, err := newLayer(kept, files)
	require.NoError(t, err)
	require.Equal(t, without, l)
	files[0].mode = 0o755
	l, err = newLayer(kept, files)
	require.NoError(t, err)
	require.NotEqual(t, without, l)
}
