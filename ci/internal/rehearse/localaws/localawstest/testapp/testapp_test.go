package testapp_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

func TestTheServiceIsBuiltAndPacked(t *testing.T) {
	binary, err := testapp.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	out, err := exec.Command(binary, "exit", "0").Output()
	require.NoError(t, err)
	require.Equal(t, "starting \n", string(out))
	img, err := testapp.ServiceImage(binary, "one", "hang")
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, runtime.GOARCH, config.Architecture)
	require.Equal(t, []string{"hang"}, config.Config.Cmd)
	require.Equal(t, []string{"VERSION=one"}, config.Config.Env)
	other, err := testapp.ServiceImage(binary, "two", "hang")
	require.NoError(t, err)
	a, err := img.Digest()
	require.NoError(t, err)
	b, err := other.Digest()
	require.NoError(t, err)
	require.NotEqual(t, a, b, "every version is an image of its own")
}

func TestLayersHoldEveryKindOfEntry(t *testing.T) {
	layer, err := testapp.Layer(testapp.File{Name: "dir/", Mode: 0o755}, testapp.File{Name: "dir/file", Body: []byte("x"), Mode: 0o600}, testapp.File{Name: "link", Link: "dir/file"})
	require.NoError(t, err)
	content, err := layer.Uncompressed()
	require.NoError(t, err)
	defer content.Close()
	kinds := map[string]byte{}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		kinds[header.Name] = header.Typeflag
	}
	require.Equal(t, map[string]byte{"dir/": tar.TypeDir, "dir/file": tar.TypeReg, "link": tar.TypeSymlink}, kinds)
}

func TestWhatCannotBeBuilt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := testapp.Build(t.Context(), filepath.Join(file, "sub"))
	require.ErrorContains(t, err, "building the test service")
	_, err = testapp.ServiceImage(filepath.Join(file, "none"), "one")
	require.ErrorContains(t, err, "reading the test service")
}
