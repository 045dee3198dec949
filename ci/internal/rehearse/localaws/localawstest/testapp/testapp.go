// Package testapp creates the images that tests run: a small service whose behaviour
// its command line and environment choose, and static sites.
package testapp

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"
)

// service is the source of the program, embedded so that Go's test cache tracks it.
//
//go:embed testdata/app/main.go
var service []byte

// Build compiles the service for this machine, statically linked, to a file in dir.
func Build(ctx context.Context, dir string) (string, error) {
	binary, file := filepath.Join(dir, "app"), filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, service, 0o600); err != nil {
		return "", fmt.Errorf("building the test service: %w", err)
	}
	defer os.Remove(file)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, file)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the test service: %w\n%s", err, out)
	}
	return binary, nil
}

// RunTests runs a package's tests with the service compiled to a file, whose name it
// stores in binary. It fails if goroutines leak.
func RunTests(m *testing.M, binary *string) {
	dir, err := os.MkdirTemp("", "testapp-")
	if err == nil {
		*binary, err = Build(context.Background(), dir)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// File is one entry of an image's layer. A directory's name ends with a slash; Link is
// the target of a symbolic link.
type File struct {
	Name string
	Body []byte
	Mode int64
	Link string
}

// Layer returns a layer of files. It is not compressed, because tests push many.
func Layer(files ...File) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Body)), Typeflag: tar.TypeReg, Linkname: f.Link}
		switch {
		case f.Link != "":
			h.Typeflag, h.Size = tar.TypeSymlink, 0
		case f.Name[len(f.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("writing the entry %s: %w", f.Name, err)
		}
		if _, err := w.Write(f.Body); err != nil {
			return nil, fmt.Errorf("writing the entry %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("closing the layer: %w", err)
	}
	return static.NewLayer(b.Bytes(), types.OCIUncompressedLayer), nil
}

// Image returns an image for this machine with a configuration and layers.
func Image(config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, fmt.Errorf("adding layers: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = runtime.GOOS, runtime.GOARCH, config
	return mutate.ConfigFile(img, file)
}

// layers are the layers of the compiled services, by the file: all versions have the same.
var layers sync.Map

func serviceLayer(binary string) (v1.Layer, error) {
	if layer, ok := layers.Load(binary); ok {
		return layer.(v1.Layer), nil
	}
	body, err := os.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading the test service: %w", err)
	}
	layer, err := Layer(File{Name: "app", Body: body, Mode: 0o755}, File{Name: "tmp/", Mode: 0o1777})
	if err == nil {
		layers.Store(binary, layer)
	}
	return layer, err
}

// ServiceImage returns an image of the service that Build has compiled. The version is
// in its environment, so that each version is a different image.
func ServiceImage(binary, version string, args ...string) (v1.Image, error) {
	layer, err := serviceLayer(binary)
	if err != nil {
		return nil, err
	}
	return Image(v1.Config{
		Entrypoint: []string{"/app"}, Cmd: slices.Clone(args), Env: []string{"VERSION=" + version}, User: "65532:65532",
	}, layer)
}
