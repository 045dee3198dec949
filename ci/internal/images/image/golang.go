package image

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// GoLabel is the label with the version of Go that compiled an image's binary.
const GoLabel = "dev.slipway.go"

// nonrootUser is the numeric user and group that Go services run as, the same as in
// distroless images.
const nonrootUser = "65532:65532"

// goImage compiles the service for each platform and puts the static binary on an empty
// base, or on a layer with the service's files.
func (b Builder) goImage(ctx context.Context, service platform.Service) (Image, error) {
	if err := b.checkMain(service); err != nil {
		return Image{}, err
	}
	modules, err := b.modules(ctx, service)
	if err != nil {
		return Image{}, err
	}
	tc, err := b.toolchain(ctx, service)
	if err != nil {
		return Image{}, err
	}
	base, err := b.goBase(ctx, service)
	if err != nil {
		return Image{}, err
	}
	images := make([]v1.Image, len(b.Platforms))
	notes := make([]string, len(b.Platforms))
	group, ctx := errgroup.WithContext(ctx)
	for n, target := range b.Platforms {
		group.Go(func() error {
			if err := modules.check(ctx, target, tc); err != nil {
				return err
			}
			binary, err := b.compile(ctx, service, target, tc)
			if err != nil {
				return err
			}
			if found, leaks := leak.Find(binary); leaks {
				return b.leakError(ctx, service, found)
			}
			notes[n] = tc.note(goVersionOf(binary))
			images[n], err = binaryImage(cache{b.Cache}, base, service, target, binary)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Image{}, err
	}
	return Image{Service: service, Index: newIndex(b.Platforms, images, annotations(service)), Note: notes[0]}, nil
}

// leakError is the refusal of a binary that contains a secret. It names the source
// file of the secret if that is found.
func (b Builder) leakError(ctx context.Context, service platform.Service, found leak.Finding) error {
	at := "the binary of " + service.Path
	if name, line := b.findLeak(ctx, service.Path, found.Kind); name != "" {
		at = fmt.Sprintf("%s:%d", source.Display(path.Join(service.Path, name)), line)
	}
	return outcome.Refusedf("%s contains %s, which anyone who can pull the image could read: pass it to the service as a secret of its task definition", at, found.Kind)
}

// findLeak returns the first file below folder that has a secret of the given kind,
// or "".
func (b Builder) findLeak(ctx context.Context, folder, kind string) (file string, line int) {
	root, err := os.OpenRoot(filepath.Join(b.Source.Dir, filepath.FromSlash(folder)))
	if err != nil {
		return "", 0
	}
	defer root.Close()
	files := root.FS()
	_ = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil || !entry.Type().IsRegular() {
			return ctx.Err()
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil //nolint:nilerr // it is looked for in vain, and the refusal stands
		}
		if found, leaks := leak.Find(data); leaks && found.Kind == kind {
			file, line = name, found.Line
			return fs.SkipAll
		}
		return nil
	})
	return file, line
}

// goBase returns the base of a Go service's image: empty, or with the files that the entry
// names. They are a layer of their own, which platforms and versions share.
func (b Builder) goBase(ctx context.Context, service platform.Service) (v1.Image, error) {
	if len(service.Files) == 0 {
		return scratch(), nil
	}
	files, err := b.goFiles(ctx, service)
	if err != nil {
		return nil, err
	}
	layer, err := newLayer(cache{b.Cache}, files)
	if err != nil {
		return nil, err
	}
	return addLayer(scratch(), layer, v1.Platform{}, func(*v1.Config) {})
}

// goFiles reads the files of a Go service that its entry names. Git and [IgnoreFile] select
// them, as for a site.
func (b Builder) goFiles(ctx context.Context, service platform.Service) ([]file, error) {
	var files []file
	inEntry := func(name string) bool { return service.HasFile(path.Join(service.Path, name)) }
	err := b.readCommitted(ctx, service, inEntry, func(root *os.Root, names []string) error {
		for _, name := range names {
			f, err := readFile(root, name, service.Path, name)
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		for _, name := range service.Files {
			if !slices.ContainsFunc(names, func(n string) bool { return n == name || strings.HasPrefix(n, name+"/") }) {
				return outcome.Usagef("files %q: %s has no such file for an image: git add it, and exclude it neither in %s nor by a name like .env; or correct files in %s", name, service.Path, IgnoreFile, platform.ServicesFile)
			}
		}
		return nil
	})
	return files, err
}

// binaryImage returns base with a static binary.
func binaryImage(c cache, base v1.Image, service platform.Service, target v1.Platform, binary []byte) (v1.Image, error) {
	layer, err := newLayer(c, []file{{path: platform.BinaryName, mode: 0o555, data: binary, time: time.Unix(0, 0)}})
	if err != nil {
		return nil, err
	}
	return addLayer(base, layer, target, func(c *v1.Config) {
		c.Entrypoint = []string{"/" + platform.BinaryName}
		c.User = nonrootUser
		c.WorkingDir = "/"
		if made := goVersionOf(binary); made != "" {
			c.Labels = map[string]string{GoLabel: made}
		}
		c.ExposedPorts = exposedPorts(service)
	})
}

// exposedPorts returns the ports that containers of the image listen on.
func exposedPorts(service platform.Service) map[string]struct{} {
	ports := map[string]struct{}{}
	for _, port := range service.ImageOf().Ports {
		ports[strconv.Itoa(port)+"/tcp"] = struct{}{}
	}
	return ports
}

// compileStep returns the step that compiles a Go service: static, without paths or
// revision, and outside of any workspace, so that only the service's folder and the
// toolchain affect the bytes.
func (b Builder) compileStep(service platform.Service, target v1.Platform, tc toolchain) step.Step {
	return b.goStep("compile", service, target, tc, "build", append(buildTags(service), "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-o", step.Out+"/"+platform.BinaryName, b.mainPackage(service))...)
}

// buildTags returns the flag of the go command with the service's build tags, if any.
func buildTags(service platform.Service) []string {
	if len(service.BuildTags) == 0 {
		return nil
	}
	return []string{"-tags=" + strings.Join(service.BuildTags, ",")}
}

// goStep returns a step that runs the go command on a service's module, for one
// platform.
func (b Builder) goStep(verb string, service platform.Service, target v1.Platform, tc toolchain, command string, args ...string) step.Step {
	env := tc.environment()
	env["GOOS"], env["GOARCH"] = target.OS, target.Architecture
	env["GOAMD64"], env["GOARM64"] = "v1", "v8.0"
	// Removed with the outputs, even when go is killed.
	env["GOTMPDIR"] = step.Out
	return step.Step{
		Name:    fmt.Sprintf("%s %s for %s", verb, service.Name, target),
		Image:   b.Lock.Reference("go"),
		Dir:     service.Path,
		Args:    append([]string{"go", command}, args...),
		Env:     env,
		Caches:  step.GoCaches(),
		Include: b.moduleFolders(service),
	}
}

// serverPackage is the main package of a service that has several and names none.
var serverPackage = strings.TrimPrefix(platform.DefaultMain, "./")

// mainPackage returns the package that the service names; otherwise cmd/server if the
// service has it, else its root package.
func (b Builder) mainPackage(service platform.Service) string {
	if service.Main != "" {
		return service.Main
	}
	if b.isFolder(path.Join(service.Path, serverPackage)) {
		return platform.DefaultMain
	}
	return "."
}

// checkMain refuses a service whose main package is not there.
func (b Builder) checkMain(service platform.Service) error {
	if service.Main == "" || b.isFolder(path.Join(service.Path, service.Main)) {
		return nil
	}
	return outcome.Usagef("main %q: %s has no such folder: correct main in %s", service.Main, service.Path, platform.ServicesFile)
}

func (b Builder) isFolder(name string) bool {
	info, err := os.Stat(filepath.Join(b.Source.Dir, filepath.FromSlash(name)))
	return err == nil && info.IsDir()
}

// compile compiles the service's binary for one platform. It puts the last build's
// binary where go writes the new one: go compares the build IDs and skips linking,
// the slowest part, if nothing changed.
func (b Builder) compile(ctx context.Context, service platform.Service, target v1.Platform, tc toolchain) ([]byte, error) {
	out, err := os.MkdirTemp("", "slipway-build-")
	if err != nil {
		return nil, fmt.Errorf("creating a temporary directory for the build: %w", err)
	}
	defer os.RemoveAll(out)
	file := filepath.Join(out, platform.BinaryName)
	c := cache{b.Cache}
	key := cacheKey("binary", absolutePath(b.Source.Dir), service.Path, service.Main, strings.Join(service.BuildTags, ","), target.String())
	if err := c.readFile(key, file); err != nil {
		return nil, fmt.Errorf("creating a temporary directory for the build: %w", err)
	}
	result, err := b.Exec.Run(ctx, b.compileStep(service, target, tc), out)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("go build for %s ended with exit code %d:\n%s", target, result.ExitCode, strings.TrimSpace(result.Stderr))
	}
	binary, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the binary for %s: %w", target, err)
	}
	c.store(key, binary)
	return binary, nil
}

// absolutePath returns the absolute path of dir, which separates the cache entries
// of two trees.
func absolutePath(dir string) string {
	full, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	return full
}
