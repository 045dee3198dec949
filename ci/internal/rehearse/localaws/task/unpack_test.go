package task

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

func layered(t *testing.T, layers ...[]testapp.File) v1.Image {
	t.Helper()
	var list []v1.Layer
	for _, files := range layers {
		layer, err := testapp.Layer(files...)
		require.NoError(t, err)
		list = append(list, layer)
	}
	img, err := testapp.Image(v1.Config{}, list...)
	require.NoError(t, err)
	return img
}

func file(name, body string) testapp.File {
	return testapp.File{Name: name, Body: []byte(body), Mode: 0o644}
}

func link(name, target string) testapp.File {
	return testapp.File{Name: name, Link: target, Mode: 0o777}
}

// tree returns the files below a directory with their contents, and links with "→".
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			found[name] = "→" + target
			return err
		}
		raw, err := os.ReadFile(path)
		found[name] = string(raw)
		return err
	}))
	return found
}

func TestUnpack(t *testing.T) {
	tests := map[string]struct {
		layers [][]testapp.File
		want   map[string]string
	}{
		"layers are merged": {
			[][]testapp.File{{file("a", "1"), file("dir/b", "1")}, {file("a", "2"), file("/abs", "3"), file("./dot", "4")}},
			map[string]string{"a": "2", "dir/b": "1", "abs": "3", "dot": "4"},
		},
		"whiteouts delete": {
			[][]testapp.File{{file("a", "1"), file("dir/b", "1"), file("dir/c", "1")}, {file(".wh.a", ""), file("dir/.wh.b", ""), file("dir/.wh.none", "")}},
			map[string]string{"dir/c": "1"},
		},
		"opaque directories hide lower layers": {
			[][]testapp.File{{file("dir/a", "1"), file("dir/sub/b", "1"), file("other", "1")}, {file("dir/new", "2"), file("dir/.wh..wh..opq", ""), file("none/.wh..wh..opq", "")}},
			map[string]string{"dir/new": "2", "other": "1"},
		},
		"a whiteout keeps files of its layer": {
			[][]testapp.File{{file("a", "1")}, {file("a", "2"), file(".wh.a", "")}},
			map[string]string{"a": "2"},
		},
		"file types change": {
			[][]testapp.File{{file("x/a", "1"), file("y", "1"), link("z", "y")}, {file("x", "2"), {Name: "y/", Mode: 0o755}, file("y/b", "2"), file("z", "2")}},
			map[string]string{"x": "2", "y/b": "2", "z": "2"},
		},
		"links are kept as they are": {
			[][]testapp.File{{file("usr/bin/sh", "1"), link("bin", "usr/bin"), link("abs", "/etc/passwd"), file("bin/ls", "2")}},
			map[string]string{"usr/bin/sh": "1", "usr/bin/ls": "2", "bin": "→usr/bin", "abs": "→/etc/passwd"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "root")
			require.NoError(t, unpack(t.Context(), layered(t, test.layers...), dir))
			require.Equal(t, test.want, tree(t, dir))
		})
	}
}

func TestUnpackStaysInDirectory(t *testing.T) {
	tests := map[string][]testapp.File{
		"dots":                     {file("../evil", "x")},
		"dots inside":              {file("a/../../evil", "x")},
		"through a link":           {link("out", ".."), file("out/evil", "x")},
		"through an absolute link": {link("out", "/"), file("out/evil", "x")},
		"whiteout through a link":  {link("out", ".."), file("out/.wh.victim", "")},
		"opaque through a link":    {link("out", ".."), file("out/.wh..wh..opq", "")},
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			outsideFile := filepath.Join(parent, "victim")
			require.NoError(t, os.WriteFile(outsideFile, nil, 0o600))
			require.Error(t, unpack(t.Context(), layered(t, files), filepath.Join(parent, "root")))
			require.FileExists(t, outsideFile)
			require.NoFileExists(t, filepath.Join(parent, "evil"))
			require.NoFileExists(t, "/evil")
		})
	}
}

func TestUnpackUncompressesAndKeepsModes(t *testing.T) {
	plain, err := testapp.Layer(testapp.File{Name: "run", Body: []byte("x"), Mode: 0o4755}, testapp.File{Name: "tmp/", Mode: 0o1777})
	require.NoError(t, err)
	zipped, err := tarball.LayerFromOpener(plain.Uncompressed)
	require.NoError(t, err)
	img, err := testapp.Image(v1.Config{}, zipped)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "root")
	require.NoError(t, unpack(t.Context(), img, dir))
	run, err := os.Stat(filepath.Join(dir, "run"))
	require.NoError(t, err)
	require.Equal(t, fs.ModeSetuid|0o755, run.Mode())
	tmp, err := os.Stat(filepath.Join(dir, "tmp"))
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|fs.ModeSticky|0o777, tmp.Mode())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, unpack(ctx, img, filepath.Join(t.TempDir(), "root")), context.Canceled)
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unpack(t.Context(), layered(t, []testapp.File{
		file("usr/bin/sh", "1"), link("bin", "usr/bin"), link("abs", "/usr"), link("up", "../../../usr/bin/sh"), link("loop", "loop"), link("dangling", "none"),
	}), filepath.Join(dir, "root")))
	root := filepath.Join(dir, "root")
	for name, want := range map[string]string{
		"/bin/sh": "usr/bin/sh", "abs/bin/sh": "usr/bin/sh", "/up": "usr/bin/sh", "/../../bin/sh": "usr/bin/sh", "/": "", "/abs/./bin/../bin": "usr/bin",
	} {
		got, err := resolve(root, name)
		require.NoError(t, err, name)
		require.Equal(t, filepath.Join(root, want), got, name)
	}
	for _, name := range []string{"/loop", "/dangling", "/none/x"} {
		_, err := resolve(root, name)
		require.Error(t, err, name)
	}
}

func TestUsers(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, unpack(t.Context(), layered(t, []testapp.File{
		file("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:101:102::/:/bin/sh\nbroken\n"), file("etc/group", "root:x:0:\nstaff:x:50:\n"),
	}), root))
	for user, want := range map[string]*userIDs{
		"": nil, "0": {0, 0}, "web": {101, 102}, "101": {101, 102}, "65532": {65532, 0}, "65532:7": {65532, 7}, "web:staff": {101, 50}, "1:0": {1, 0},
	} {
		got, err := resolveUser(root, user)
		require.NoError(t, err, user)
		require.Equal(t, want, got, user)
	}
}
