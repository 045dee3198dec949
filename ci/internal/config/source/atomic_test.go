package source_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

func TestWriteFileAtomic(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, content := range []string{"first", "second"} {
		require.NoError(t, source.WriteFileAtomic(name, []byte(content), 0o640))
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, content, string(got))
	}
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())

	// A folder is in the way: nothing changes, and nothing is left beside it.
	taken := filepath.Join(dir, "taken")
	require.NoError(t, os.Mkdir(taken, 0o755))
	require.Error(t, source.WriteFileAtomic(taken, nil, 0o644))
	require.ErrorIs(t, source.WriteFileAtomic(filepath.Join(dir, "none", "file"), nil, 0o644), os.ErrNotExist)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
}

func TestCreateFileAtomic(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, source.CreateFileAtomic(name, []byte("first"), 0o640))
	require.ErrorIs(t, source.CreateFileAtomic(name, []byte("second"), 0o640), fs.ErrExist)
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "first", string(got))
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())
	entries, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
}
